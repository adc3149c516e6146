//! Tables of what a configuration may contain: the one source of the check, which reads the members and their kinds,
//! and of the JSON Schema, which reads everything. Neither of the two is here.
//!
//! What one value must have in common with another (a `pass` and its destination, `spare` and `max`) has no place in
//! a table; only the check knows it.

use crate::Value;
use crate::bounds::{Seconds, Whole};

/// A set of kinds of values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Kinds(u8);

impl Kinds {
    pub(super) const NULL: Self = Self(1);
    pub(super) const BOOLEAN: Self = Self(1 << 1);
    pub(super) const INTEGER: Self = Self(1 << 2);
    pub(super) const FRACTION: Self = Self(1 << 3);
    pub(super) const STRING: Self = Self(1 << 4);
    pub(super) const ARRAY: Self = Self(1 << 5);
    pub(super) const OBJECT: Self = Self(1 << 6);

    pub(super) const NUMBER: Self = Self::INTEGER.or(Self::FRACTION);

    /// In the order in which a message names them.
    const NAMED: [(Self, &'static str); 7] = [
        (Self::NULL, "a null"),
        (Self::BOOLEAN, "a boolean"),
        (Self::INTEGER, "an integer number"),
        (Self::FRACTION, "a fractional number"),
        (Self::STRING, "a string"),
        (Self::ARRAY, "an array"),
        (Self::OBJECT, "an object"),
    ];

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::NULL,
            Value::Bool(_) => Self::BOOLEAN,
            Value::Number(number) if number.as_i64().is_some() => Self::INTEGER,
            Value::Number(_) => Self::FRACTION,
            Value::String(_) => Self::STRING,
            Value::Array(_) => Self::ARRAY,
            Value::Object(_) => Self::OBJECT,
        }
    }

    pub(super) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// "a string", "either a string or an array", "either a, b, or c".
    pub(super) fn describe(self) -> String {
        let names: Vec<_> = Self::NAMED
            .iter()
            .filter(|(kind, _)| self.has(*kind))
            .map(|(_, name)| *name)
            .collect();
        match names.as_slice() {
            [] => String::new(),
            [one] => (*one).to_owned(),
            [one, other] => format!("either {one} or {other}"),
            [rest @ .., last] => format!("either {}, or {last}", rest.join(", ")),
        }
    }
}

/// One row of a table: a member of an object.
pub(super) struct Member {
    pub(super) name: &'static str,
    /// The kinds of `forms`.
    pub(super) kinds: Kinds,
    pub(super) presence: Presence,
    /// At least one; a value must have one of them.
    pub(super) forms: &'static [Form],
    /// A sentence for people, with the unit and the default if there is one.
    pub(super) description: &'static str,
}

/// Whether an object must have a member.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Optional,
    /// Checked before all other members, as in Unit.
    Required,
    /// Checked by the part of the check that owns the table, with a message or an order of its own.
    RequiredByOwner,
}

impl Member {
    pub(super) const fn optional(
        name: &'static str,
        forms: &'static [Form],
        description: &'static str,
    ) -> Self {
        Self {
            name,
            kinds: Form::kinds(forms),
            presence: Presence::Optional,
            forms,
            description,
        }
    }

    pub(super) const fn required(
        name: &'static str,
        forms: &'static [Form],
        description: &'static str,
    ) -> Self {
        Self {
            presence: Presence::Required,
            ..Self::optional(name, forms, description)
        }
    }

    pub(super) const fn required_by_owner(
        name: &'static str,
        forms: &'static [Form],
        description: &'static str,
    ) -> Self {
        Self {
            presence: Presence::RequiredByOwner,
            ..Self::optional(name, forms, description)
        }
    }
}

/// What a value of one kind may be.
pub(super) enum Form {
    Null,
    Boolean,
    /// A whole number. As in Unit, `1.0` and `1e3` are whole.
    Integer(Interval),
    /// A number with or without a fraction.
    Number(Interval),
    /// A number whose fraction is cut off before it is compared.
    Truncated(Interval),
    /// Seconds, or 0 for no limit.
    Seconds(Seconds),
    String(Text),
    Array(Items),
    /// An object without members.
    Empty,
    /// An object with the members of a table.
    Object(&'static Table),
    /// An object whose members have names of the user's choice.
    Map(Map),
    /// An object with the members of one of several tables.
    Choice(&'static Choice),
}

impl Form {
    pub(super) const BOOLEAN: &'static [Self] = &[Self::Boolean];
    pub(super) const INTEGER: &'static [Self] = &[Self::Integer(Interval::ANY)];
    pub(super) const STRING: &'static [Self] = &[Self::String(Text::ANY)];
    /// A string that is not empty and has no NUL.
    pub(super) const FILLED: &'static [Self] = &[Self::String(Text::FILLED)];
    /// A string, or an array of strings.
    pub(super) const STRINGS: &'static [Self] = &[
        Self::String(Text::ANY),
        Self::Array(Items::of(Self::STRING)),
    ];

    const fn kinds(forms: &[Self]) -> Kinds {
        let mut kinds = Kinds(0);
        let mut rest = forms;
        // Neither `for` nor iterators are possible at compile time.
        while let [form, others @ ..] = rest {
            kinds = kinds.or(match form {
                Self::Null => Kinds::NULL,
                Self::Boolean => Kinds::BOOLEAN,
                Self::Integer(_) => Kinds::INTEGER,
                Self::Number(_) | Self::Truncated(_) | Self::Seconds(_) => Kinds::NUMBER,
                Self::String(_) => Kinds::STRING,
                Self::Array(_) => Kinds::ARRAY,
                Self::Empty | Self::Object(_) | Self::Map(_) | Self::Choice(_) => Kinds::OBJECT,
            });
            rest = others;
        }
        kinds
    }
}

/// The numbers from `least` to `most`, both included. The extremes of the type are no bounds.
#[derive(Clone, Copy)]
pub(super) struct Interval {
    pub(super) least: i64,
    pub(super) most: i64,
}

impl Interval {
    pub(super) const ANY: Self = Self {
        least: i64::MIN,
        most: i64::MAX,
    };

    pub(super) const fn at_least(least: i64) -> Self {
        Self { least, ..Self::ANY }
    }

    /// The bounds of an option with two forms, whose numbers fit.
    pub(super) const fn of(whole: &Whole) -> Self {
        Self {
            least: whole.least as i64,
            most: whole.most as i64,
        }
    }

    pub(super) fn contains(self, number: i64) -> bool {
        (self.least..=self.most).contains(&number)
    }
}

/// What a string may be. Regular expressions are such as ECMAScript and Python understand alike, and are searched for
/// unless they have anchors.
#[derive(Clone, Copy)]
pub(super) struct Text {
    pub(super) may_be_empty: bool,
    pub(super) may_have_nul: bool,
    /// The only values, unless this is empty.
    pub(super) one_of: &'static [&'static str],
    /// What it must match.
    pub(super) pattern: Option<Regex>,
    /// What it must not match.
    pub(super) excluded: Option<&'static str>,
    /// The largest number of bytes, and thereby of characters, too.
    pub(super) longest: Option<usize>,
}

#[derive(Clone, Copy)]
pub(super) enum Regex {
    Literal(&'static str),
    /// One that is put together.
    Computed(fn() -> String),
}

impl Text {
    pub(super) const ANY: Self = Self {
        may_be_empty: true,
        may_have_nul: true,
        one_of: &[],
        pattern: None,
        excluded: None,
        longest: None,
    };
    pub(super) const FILLED: Self = Self {
        may_be_empty: false,
        ..Self::WITHOUT_NUL
    };
    pub(super) const NOT_EMPTY: Self = Self {
        may_be_empty: false,
        ..Self::ANY
    };
    pub(super) const WITHOUT_NUL: Self = Self {
        may_have_nul: false,
        ..Self::ANY
    };
    /// An absolute path.
    pub(super) const ABSOLUTE: Self = Self {
        pattern: Some(Regex::Literal("^/")),
        ..Self::FILLED
    };

    pub(super) const fn one_of(values: &'static [&'static str]) -> Self {
        Self {
            one_of: values,
            ..Self::ANY
        }
    }

    pub(super) const fn matching(pattern: Regex) -> Self {
        Self {
            pattern: Some(pattern),
            ..Self::ANY
        }
    }

    pub(super) const fn without(self, excluded: &'static str) -> Self {
        Self {
            excluded: Some(excluded),
            ..self
        }
    }

    pub(super) const fn at_most(self, bytes: usize) -> Self {
        Self {
            longest: Some(bytes),
            ..self
        }
    }
}

/// What an array may have as elements, and how many.
#[derive(Clone, Copy)]
pub(super) struct Items {
    pub(super) forms: &'static [Form],
    pub(super) least: usize,
    pub(super) most: Option<usize>,
}

impl Items {
    pub(super) const fn of(forms: &'static [Form]) -> Self {
        Self {
            forms,
            least: 0,
            most: None,
        }
    }

    pub(super) const fn at_least(self, least: usize) -> Self {
        Self { least, ..self }
    }

    pub(super) const fn at_most(self, most: usize) -> Self {
        Self {
            most: Some(most),
            ..self
        }
    }
}

/// What an object may have as members if their names are the user's.
#[derive(Clone, Copy)]
pub(super) struct Map {
    pub(super) names: Text,
    pub(super) forms: &'static [Form],
    pub(super) most: Option<usize>,
}

impl Map {
    pub(super) const fn of(forms: &'static [Form]) -> Self {
        Self {
            names: Text::ANY,
            forms,
            most: None,
        }
    }

    pub(super) const fn with_names(self, names: Text) -> Self {
        Self { names, ..self }
    }

    pub(super) const fn at_most(self, most: usize) -> Self {
        Self {
            most: Some(most),
            ..self
        }
    }
}

/// The members of an object, and no others.
pub(super) struct Table {
    /// The name of its definition in the JSON Schema, which no other table or choice has.
    pub(super) name: &'static str,
    /// A sentence for people.
    pub(super) description: &'static str,
    rows: &'static [&'static [Member]],
    /// Unless empty, an object must have at least one of these members. Checked by the owner of the table.
    pub(super) any_of: &'static [&'static str],
}

impl Table {
    pub(super) const fn new(
        name: &'static str,
        description: &'static str,
        rows: &'static [&'static [Member]],
    ) -> Self {
        Self {
            name,
            description,
            rows,
            any_of: &[],
        }
    }

    pub(super) const fn with_any_of(self, names: &'static [&'static str]) -> Self {
        Self {
            any_of: names,
            ..self
        }
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &'static Member> + use<> {
        self.rows.iter().copied().flatten()
    }
}

/// Tables of which one applies to an object.
pub(super) struct Choice {
    /// As of a table.
    pub(super) name: &'static str,
    /// A sentence for people.
    pub(super) description: &'static str,
    pub(super) selector: Selector,
    /// With [`Selector::Member`] the name of the member, else the value.
    pub(super) cases: &'static [(&'static str, &'static Table)],
}

/// What selects the table of a [`Choice`].
pub(super) enum Selector {
    /// The one of several members that is present.
    Member,
    /// The value of the member of this name, for which each table has a [`Form::String`] of its own.
    Value(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_described_as_in_unit() {
        assert_eq!(Kinds::STRING.describe(), "a string");
        assert_eq!(
            Kinds::NUMBER.describe(),
            "either an integer number or a fractional number"
        );
        assert_eq!(
            Kinds::NULL.or(Kinds::ARRAY).or(Kinds::OBJECT).describe(),
            "either a null, an array, or an object",
        );
    }

    #[test]
    fn a_members_kinds_are_those_of_its_forms() {
        let member = Member::optional("a", Form::STRINGS, "A text.");
        assert!(member.kinds == Kinds::STRING.or(Kinds::ARRAY));
    }
}
