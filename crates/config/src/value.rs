//! The value tree of a configuration.

use std::time::Duration;

/// One JSON value.
///
/// Values are equal if they print the same: another order of members, or `1.0` instead of `1`, is a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, in its original spelling.
    Number(Number),
    /// A string, its escapes resolved.
    String(String),
    /// An array.
    Array(Vec<Value>),
    /// An object, its members in the order they were written.
    Object(Object),
}

impl Value {
    /// The value at `path`; `None` if there is no such member or element.
    ///
    /// ```
    /// let tree = config::parse(br#"{"routes": [{"action": 1}, {"action": 2}]}"#)?;
    /// let path = config::Path::parse("/routes/1/action")?;
    /// assert_eq!(tree.at(&path), Some(&config::Value::from(2)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn at(&self, path: &crate::Path) -> Option<&Self> {
        path.segments()
            .iter()
            .try_fold(self, |value, segment| value.child(segment))
    }

    /// The member or element of one segment of a path.
    #[must_use]
    pub fn child(&self, segment: &str) -> Option<&Self> {
        match self {
            Self::Object(object) => object.get(segment),
            Self::Array(elements) => elements.get(index(segment)?),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::String(_) => None,
        }
    }

    /// The text of a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The members of an object.
    #[must_use]
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The elements of an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(elements) => Some(elements),
            _ => None,
        }
    }

    /// The depth of nested arrays and objects, this one included.
    pub(crate) fn depth(&self) -> usize {
        match self {
            Self::Object(object) => 1 + object.iter().map(|(_, v)| v.depth()).max().unwrap_or(0),
            Self::Array(elements) => 1 + elements.iter().map(Self::depth).max().unwrap_or(0),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::String(_) => 0,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(Number::new(&number.to_string()).unwrap_or(Number::ZERO))
    }
}

impl From<Duration> for Value {
    /// Seconds, with microseconds.
    fn from(duration: Duration) -> Self {
        let text = format!("{}.{:06}", duration.as_secs(), duration.subsec_micros());
        // Without microseconds if that would exceed the longest number.
        Number::new(&text).map_or_else(|| duration.as_secs().into(), Self::Number)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Self {
        Self::Object(object)
    }
}

impl<'a> FromIterator<(&'a str, Value)> for Value {
    /// An object of these members. Of duplicates, the last value stands at the first position.
    fn from_iter<I: IntoIterator<Item = (&'a str, Self)>>(members: I) -> Self {
        let members: Vec<_> = members.into_iter().collect();
        let object = if are_unique(members.iter().map(|(name, _)| *name)) {
            let members = members.into_iter();
            Object::from_unique(
                members
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect(),
            )
        } else {
            let mut object = Object::default();
            for (name, value) in members {
                object.set(name, value);
            }
            object
        };
        Self::Object(object)
    }
}

/// In less than quadratic time, since there may be thousands of applications.
fn are_unique<'a>(names: impl Iterator<Item = &'a str>) -> bool {
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names.windows(2).all(|pair| pair[0] != pair[1])
}

/// An array index: decimal digits only. Leading zeros are allowed, as in Unit.
pub(crate) fn index(segment: &str) -> Option<usize> {
    let digits = !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit());
    // Unit's largest index.
    let limit = usize::try_from(i32::MAX).unwrap_or(usize::MAX);
    segment
        .parse()
        .ok()
        .filter(|&index| digits && index <= limit)
}

/// A number in its original spelling. A parsed one has at most 14 characters and a magnitude below 2⁶³, as in Unit,
/// and so is a finite `f64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    // Inline, to avoid an allocation for each number. Bytes after the length are zero.
    text: [u8; Self::LONGEST],
    length: u8,
}

impl Number {
    /// The longest `u64`.
    const LONGEST: usize = 20;

    const ZERO: Self = {
        let mut text = [0; Self::LONGEST];
        text[0] = b'0';
        Self { text, length: 1 }
    };

    /// `text` must be a number.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let mut number = Self {
            text: [0; Self::LONGEST],
            length: u8::try_from(text.len()).ok()?,
        };
        number
            .text
            .get_mut(..text.len())?
            .copy_from_slice(text.as_bytes());
        Some(number)
    }

    /// The number's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.text[..self.length.into()]).unwrap_or_default()
    }

    /// The number's value.
    #[must_use]
    pub fn as_f64(&self) -> f64 {
        self.as_str().parse().unwrap_or(0.0)
    }

    /// The value of a whole number; as in Unit, `1.0` and `1e3` are whole.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        // Parsed as an integer first, since `f64` would round large ones.
        self.as_str().parse().ok().or_else(|| {
            let number = self.as_f64();
            (number == number.trunc()).then_some(number as i64)
        })
    }
}

/// The members of an object, with unique names and in their original order.
///
/// Lookups are linear, as in Unit: objects are small, and no lookup is on the path of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    members: Vec<(String, Value)>,
}

impl Object {
    /// The value of the member `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.iter()
            .find(|(member, _)| *member == name)
            .map(|(_, value)| value)
    }

    /// The members in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.members
            .iter()
            .map(|(name, value)| (name.as_str(), value))
    }

    /// The number of members.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether the object has no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Replaces the value of `name` at its position, or adds it at the end.
    pub fn set(&mut self, name: &str, value: Value) {
        match self.get_mut(name) {
            Some(place) => *place = value,
            None => self.members.push((name.to_owned(), value)),
        }
    }

    /// Removes `name` and returns its value; the others keep their order.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let at = self.members.iter().position(|(member, _)| member == name)?;
        Some(self.members.remove(at).1)
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        self.members
            .iter_mut()
            .find(|(member, _)| member == name)
            .map(|(_, value)| value)
    }

    /// The names must be unique.
    pub(crate) fn from_unique(members: Vec<(String, Value)>) -> Self {
        Self { members }
    }
}

impl IntoIterator for Object {
    type Item = (String, Value);
    type IntoIter = std::vec::IntoIter<(String, Value)>;

    /// The members in their order.
    fn into_iter(self) -> Self::IntoIter {
        self.members.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_may_be_written_with_a_fraction_or_an_exponent() {
        let number = |text: &str| Number::new(text).unwrap();
        assert_eq!(number("12").as_i64(), Some(12));
        assert_eq!(number("-1.0").as_i64(), Some(-1));
        assert_eq!(number("2e3").as_i64(), Some(2000));
        assert_eq!(number("0.5").as_i64(), None);
    }

    #[test]
    fn an_object_keeps_the_last_value_of_a_name_at_the_place_of_the_first() {
        let members = [("b", 1), ("a", 2), ("b", 3)].map(|(name, it)| (name, Value::from(it)));
        let object: Value = members.into_iter().collect();
        assert_eq!(crate::print(&object), r#"{"b":3,"a":2}"#);
    }

    #[test]
    fn an_object_of_many_members_is_not_made_in_quadratic_time() {
        let names: Vec<_> = (0..100_000)
            .map(|number| format!("application-{number}"))
            .collect();
        let begun = std::time::Instant::now();
        let object: Value = names
            .iter()
            .map(|name| (name.as_str(), Value::Null))
            .collect();
        // Milliseconds; with a look-up for each member, most of a minute.
        assert!(begun.elapsed() < Duration::from_secs(10));
        assert_eq!(object.as_object().unwrap().len(), names.len());
    }

    #[test]
    fn the_largest_counter_has_a_text() {
        let Value::Number(number) = Value::from(u64::MAX) else {
            panic!("no number")
        };
        assert_eq!(number.as_str(), "18446744073709551615");
    }

    #[test]
    fn a_duration_is_a_number_of_seconds() {
        let seconds = |duration: Duration| crate::print(&duration.into());
        assert_eq!(seconds(Duration::from_nanos(5_000_042_999)), "5.000042");
        assert_eq!(seconds(Duration::MAX), "18446744073709551615");
    }

    #[test]
    fn an_index_is_decimal_digits_and_nothing_else() {
        assert_eq!(index("0"), Some(0));
        assert_eq!(index("007"), Some(7));
        assert_eq!(index("2147483647"), Some(2_147_483_647));
        for refused in [
            "",
            "-1",
            "+1",
            "1x",
            "2147483648",
            "99999999999999999999999",
        ] {
            assert_eq!(index(refused), None, "{refused}");
        }
    }
}
