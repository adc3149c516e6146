//! The printer: value tree to text.

use crate::Value;

/// The shortest text, without spaces and line breaks.
///
/// ```
/// let value = config::parse(b"{ \"a\": [1, 2.50], // two\n \"b\": \"\\u00e9\\u0001\" }")?;
/// assert_eq!(config::print(&value), "{\"a\":[1,2.50],\"b\":\"é\\u0001\"}");
/// # Ok::<(), config::JsonError>(())
/// ```
#[must_use]
pub fn print(value: &Value) -> String {
    let mut printer = Printer {
        text: String::new(),
        layout: None,
    };
    printer.value(value);
    printer.text
}

/// The layout of Unit's control API: tabs, CRLF line breaks, and an empty line after a filled array or object that
/// another member follows. The text does not end in a line break.
///
/// ```
/// let value = config::parse(br#"{"a":{"b":[]},"c":1,"d":2}"#)?;
/// assert_eq!(
///     config::print_pretty(&value),
///     "{\r\n\t\"a\": {\r\n\t\t\"b\": []\r\n\t},\r\n\r\n\t\"c\": 1,\r\n\t\"d\": 2\r\n}",
/// );
/// # Ok::<(), config::JsonError>(())
/// ```
#[must_use]
pub fn print_pretty(value: &Value) -> String {
    let layout = Layout {
        level: 0,
        more_space: false,
    };
    let mut printer = Printer {
        text: String::new(),
        layout: Some(layout),
    };
    printer.value(value);
    printer.text
}

struct Printer {
    text: String,
    layout: Option<Layout>,
}

struct Layout {
    level: usize,
    /// A filled array or object has just ended.
    more_space: bool,
}

impl Printer {
    fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.text.push_str("null"),
            Value::Bool(true) => self.text.push_str("true"),
            Value::Bool(false) => self.text.push_str("false"),
            Value::Number(number) => self.text.push_str(number.as_str()),
            Value::String(text) => self.string(text),
            Value::Array(elements) => self.array(elements),
            Value::Object(object) => self.object(object),
        }
    }

    fn array(&mut self, elements: &[Value]) {
        self.text.push('[');
        for (position, element) in elements.iter().enumerate() {
            if position > 0 {
                self.text.push(',');
            }
            self.line(if position == 0 { 1 } else { 0 });
            if position > 0
                && let Some(layout) = &mut self.layout
            {
                // No empty line between the elements of an array.
                layout.more_space = false;
            }
            self.value(element);
        }
        self.close(']', !elements.is_empty());
    }

    fn object(&mut self, object: &crate::Object) {
        self.text.push('{');
        for (position, (name, value)) in object.iter().enumerate() {
            if position > 0 {
                self.text.push(',');
                if let Some(layout) = &mut self.layout
                    && std::mem::take(&mut layout.more_space)
                {
                    self.text.push_str("\r\n");
                }
            }
            self.line(if position == 0 { 1 } else { 0 });
            self.string(name);
            self.text
                .push_str(if self.layout.is_some() { ": " } else { ":" });
            self.value(value);
        }
        self.close('}', !object.is_empty());
    }

    /// A line break, and the indentation of the next line, `deeper` levels further.
    fn line(&mut self, deeper: usize) {
        if let Some(layout) = &mut self.layout {
            layout.level += deeper;
            self.text.push_str("\r\n");
            self.text.extend(std::iter::repeat_n('\t', layout.level));
        }
    }

    fn close(&mut self, bracket: char, filled: bool) {
        if filled && let Some(layout) = &mut self.layout {
            layout.level -= 1;
            layout.more_space = true;
            self.line(0);
        }
        self.text.push(bracket);
    }

    fn string(&mut self, string: &str) {
        self.text.push('"');
        for character in string.chars() {
            match character {
                '"' | '\\' => self.text.extend(['\\', character]),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                '\u{8}' => self.text.push_str("\\b"),
                '\u{c}' => self.text.push_str("\\f"),
                '\0'..='\u{1f}' => {
                    self.text
                        .push_str(&format!("\\u{:04X}", u32::from(character)));
                }
                _ => self.text.push(character),
            }
        }
        self.text.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    fn pretty(text: &str) -> String {
        print_pretty(&parse(text.as_bytes()).unwrap()).replace("\r\n", "\n")
    }

    #[test]
    fn empty_arrays_and_objects_stay_on_their_line() {
        assert_eq!(pretty("{}"), "{}");
        assert_eq!(pretty("[]"), "[]");
        assert_eq!(
            pretty(r#"{"listeners":{},"routes":[],"applications":{}}"#),
            "{\n\t\"listeners\": {},\n\t\"routes\": [],\n\t\"applications\": {}\n}",
        );
    }

    #[test]
    fn an_empty_line_follows_a_filled_object_but_not_in_an_array() {
        assert_eq!(
            pretty(r#"{"routes":[{"a":1},{"a":2}],"x":{"y":[1,2]},"z":0}"#),
            "{\n\t\"routes\": [\n\t\t{\n\t\t\t\"a\": 1\n\t\t},\n\t\t{\n\t\t\t\"a\": 2\n\t\t}\n\t],\n\n\
             \t\"x\": {\n\t\t\"y\": [\n\t\t\t1,\n\t\t\t2\n\t\t]\n\t},\n\n\t\"z\": 0\n}",
        );
    }

    #[test]
    fn only_what_must_be_escaped_is() {
        let value = Value::from("a\"b\\c/d\n\r\t\u{8}\u{c}\u{1f}\u{7f}é\u{1f980}");
        assert_eq!(
            print(&value),
            "\"a\\\"b\\\\c/d\\n\\r\\t\\b\\f\\u001F\u{7f}é\u{1f980}\"",
        );
    }
}
