//! The JSON Schema (draft 2020-12) of the configuration, made from the tables of the check.
//!
//! Each table and each choice is a definition, so that they may contain each other. A table that the value of a
//! member selects is an `if` with a `then`, for which validators report what is wrong, and not that several schemas
//! do not match. One that the presence of a member selects is an element of `oneOf`, from which editors propose the
//! members of all.

use super::table::{
    Choice, Form, Interval, Items, Map, Member, Presence, Regex, Selector, Table, Text,
};
use crate::bounds::Seconds;
use crate::{Number, Value};

/// The schema of a whole configuration, whose table is `root`.
pub(super) fn document(root: &'static Table) -> Value {
    let mut definitions = Definitions::default();
    let mut schema = vec![
        (
            "$schema",
            "https://json-schema.org/draft/2020-12/schema".into(),
        ),
        ("$id", "urn:wasmtime-unitd:configuration".into()),
        ("title", "Configuration of wasmtime-unitd".into()),
    ];
    schema.extend(definitions.table(root));
    schema.push(("$defs", definitions.named.into_iter().collect()));
    object(schema)
}

/// The members of a schema, each once.
type Keywords = Vec<(&'static str, Value)>;

/// The definitions so far.
#[derive(Default)]
struct Definitions {
    named: Vec<(&'static str, Value)>,
}

impl Definitions {
    /// A reference to a definition, which is made unless there is one.
    fn reference(
        &mut self,
        name: &'static str,
        make: impl FnOnce(&mut Self) -> Keywords,
    ) -> Keywords {
        if !self.named.iter().any(|(other, _)| *other == name) {
            let index = self.named.len();
            // Its place is taken first, since it may refer to itself.
            self.named.push((name, Value::Null));
            let definition = object(make(self));
            if let Some((_, place)) = self.named.get_mut(index) {
                *place = definition;
            }
        }
        vec![("$ref", format!("#/$defs/{name}").into())]
    }

    fn table(&mut self, table: &'static Table) -> Keywords {
        let members: Vec<_> = table
            .members()
            .map(|member| (member.name, self.member(member)))
            .collect();
        let mut keywords = vec![
            ("description", table.description.into()),
            ("type", "object".into()),
            ("properties", object(members)),
            ("additionalProperties", false.into()),
        ];
        keywords.extend(demands(table));
        keywords
    }

    fn member(&mut self, member: &'static Member) -> Value {
        let mut keywords = vec![("description", member.description.into())];
        keywords.extend(self.forms(member.forms));
        object(keywords)
    }

    fn forms(&mut self, forms: &'static [Form]) -> Keywords {
        match forms {
            [form] => self.form(form),
            _ => {
                let forms = forms.iter().map(|form| self.form(form));
                vec![("anyOf", schemas(forms))]
            }
        }
    }

    fn form(&mut self, form: &'static Form) -> Keywords {
        match form {
            Form::Null => kind("null"),
            Form::Boolean => kind("boolean"),
            Form::Integer(interval) => bounded("integer", *interval),
            Form::Number(interval) => bounded("number", *interval),
            Form::Truncated(interval) => truncated(*interval),
            Form::Seconds(bounds) => seconds(*bounds),
            Form::String(text) => self.string(text),
            Form::Array(items) => self.array(items),
            Form::Empty => {
                let mut keywords = kind("object");
                keywords.push(("maxProperties", number(&0)));
                keywords
            }
            Form::Map(map) => self.map(map),
            Form::Object(table) => self.reference(table.name, |its| its.table(table)),
            Form::Choice(choice) => self.reference(choice.name, |its| its.choice(choice)),
        }
    }

    fn string(&mut self, text: &Text) -> Keywords {
        let mut keywords = kind("string");
        keywords.extend(extent(text));
        let syntax = syntax(text);
        if !syntax.is_empty() {
            let alternatives = [syntax, self.expression()];
            keywords.push(("anyOf", schemas(alternatives)));
        }
        keywords
    }

    /// A string with an expression, which is replaced when a configuration is read from a file. What it stands for is
    /// not known here, so that it is accepted wherever a string is. Numbers cannot be expressions, and neither can
    /// the names of members.
    ///
    /// Without a description, which editors would show instead of the member's.
    fn expression(&mut self) -> Keywords {
        self.reference("expression", |_| {
            let comment =
                "What an expression stands for is not known before the configuration is read.";
            let mut keywords = kind("string");
            keywords.push(("$comment", comment.into()));
            keywords.push(("pattern", r"\$\{(?:env|file):".into()));
            keywords
        })
    }

    fn array(&mut self, items: &Items) -> Keywords {
        let mut keywords = kind("array");
        keywords.push(("items", object(self.forms(items.forms))));
        if items.least > 0 {
            keywords.push(("minItems", number(&items.least)));
        }
        keywords.extend(items.most.map(|most| ("maxItems", number(&most))));
        keywords
    }

    fn map(&mut self, map: &Map) -> Keywords {
        let mut keywords = kind("object");
        let names = all_of(extent(&map.names), syntax(&map.names));
        if !names.is_empty() {
            keywords.push(("propertyNames", object(names)));
        }
        let values = object(self.forms(map.forms));
        keywords.push(("additionalProperties", values));
        keywords.extend(map.most.map(|most| ("maxProperties", number(&most))));
        keywords
    }

    fn choice(&mut self, choice: &'static Choice) -> Keywords {
        let mut keywords = vec![
            ("description", choice.description.into()),
            ("type", "object".into()),
        ];
        match choice.selector {
            Selector::Member => {
                let tables = choice.cases.iter().map(|(_, table)| *table);
                let tables = tables.map(|table| self.reference(table.name, |its| its.table(table)));
                keywords.push(("oneOf", schemas(tables)));
            }
            Selector::Value(name) => keywords.extend(self.by_value(name, choice.cases)),
        }
        keywords
    }

    /// One of `cases` by the value of the string `name`. With an expression it is not known which.
    fn by_value(
        &mut self,
        name: &'static str,
        cases: &'static [(&'static str, &'static Table)],
    ) -> Keywords {
        // Listed, so that editors propose them.
        let values = cases.iter().map(|(value, _)| (*value).into()).collect();
        let mut accepted = vec![vec![("enum", Value::Array(values))]];
        let (mut description, mut conditions) = ("", Vec::new());
        for (_, table) in cases {
            let Some((member, text)) = string_member(table, name) else {
                continue;
            };
            let mut condition = kind("string");
            condition.extend(syntax(text));
            let table = self.reference(table.name, |its| its.table(table));
            conditions.push(vec![("if", has(name, condition)), ("then", object(table))]);
            accepted.push(syntax(text));
            description = member.description;
        }
        accepted.push(self.expression());
        let selector = vec![
            ("description", description.into()),
            ("type", "string".into()),
            ("anyOf", schemas(accepted)),
        ];
        vec![
            ("properties", object([(name, object(selector))])),
            ("required", Value::Array(vec![name.into()])),
            ("allOf", schemas(conditions)),
        ]
    }
}

/// The member `name` of a table, and what its string may be.
fn string_member(table: &Table, name: &str) -> Option<(&'static Member, &'static Text)> {
    let member = table.members().find(|member| member.name == name)?;
    let text = member.forms.iter().find_map(|form| match form {
        Form::String(text) => Some(text),
        _ => None,
    });
    Some((member, text?))
}

/// Which members an object must have.
fn demands(table: &Table) -> Keywords {
    let mut keywords = Vec::new();
    let required: Vec<_> = table
        .members()
        .filter(|member| member.presence != Presence::Optional)
        .map(|member| member.name.into())
        .collect();
    if !required.is_empty() {
        keywords.push(("required", Value::Array(required)));
    }
    if !table.any_of.is_empty() {
        let cases = table.any_of.iter();
        let cases = cases.map(|name| vec![("required", Value::Array(vec![(*name).into()]))]);
        keywords.push(("anyOf", schemas(cases)));
    }
    keywords
}

/// An object whose member `name` matches the schema.
fn has(name: &'static str, schema: Keywords) -> Value {
    object([
        ("properties", object([(name, object(schema))])),
        ("required", Value::Array(vec![name.into()])),
    ])
}

fn bounded(r#type: &'static str, Interval { least, most }: Interval) -> Keywords {
    let mut keywords = kind(r#type);
    if least > i64::MIN {
        keywords.push(("minimum", number(&least)));
    }
    if most < i64::MAX {
        keywords.push(("maximum", number(&most)));
    }
    keywords
}

/// Fractions beyond a bound are cut off as long as the next whole number is not reached.
fn truncated(Interval { least, most }: Interval) -> Keywords {
    let mut keywords = kind("number");
    keywords.push(("exclusiveMinimum", number(&least.saturating_sub(1))));
    keywords.push(("exclusiveMaximum", number(&most.saturating_add(1))));
    keywords
}

fn seconds(Seconds { most }: Seconds) -> Keywords {
    let mut keywords = kind("number");
    let unlimited = vec![("const", number(&0))];
    let limited = vec![("minimum", number(&0.001)), ("maximum", number(&most))];
    keywords.push(("anyOf", schemas([unlimited, limited])));
    keywords
}

/// What a string with an expression has to be, too.
fn extent(text: &Text) -> Keywords {
    let mut keywords = Vec::new();
    if !text.may_be_empty {
        keywords.push(("minLength", number(&1)));
    }
    if !text.may_have_nul {
        keywords.push(("pattern", r"^[^\u0000]*$".into()));
    }
    keywords
}

/// What a string without an expression has to be.
fn syntax(text: &Text) -> Keywords {
    let mut keywords = Vec::new();
    if !text.one_of.is_empty() {
        let values = text.one_of.iter().map(|value| (*value).into());
        keywords.push(("enum", Value::Array(values.collect())));
    }
    if let Some(pattern) = &text.pattern {
        let pattern = match pattern {
            Regex::Literal(pattern) => (*pattern).to_owned(),
            Regex::Computed(pattern) => pattern(),
        };
        keywords.push(("pattern", pattern.into()));
    }
    if let Some(excluded) = text.excluded {
        keywords.push(("not", object([("pattern", excluded.into())])));
    }
    keywords.extend(text.longest.map(|longest| ("maxLength", number(&longest))));
    keywords
}

fn kind(name: &'static str) -> Keywords {
    vec![("type", name.into())]
}

/// Both schemas in one, though they may have keywords in common.
fn all_of(one: Keywords, other: Keywords) -> Keywords {
    match (one.is_empty(), other.is_empty()) {
        (true, _) => other,
        (_, true) => one,
        _ => vec![("allOf", schemas([one, other]))],
    }
}

/// An array of schemas.
fn schemas(all: impl IntoIterator<Item = Keywords>) -> Value {
    Value::Array(all.into_iter().map(object).collect())
}

fn object(members: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    members.into_iter().collect()
}

/// A number as it is printed, which is a number of JSON as well.
fn number(number: &impl ToString) -> Value {
    Number::new(&number.to_string()).map_or(Value::Null, Value::Number)
}
