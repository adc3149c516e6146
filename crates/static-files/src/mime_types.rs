//! The MIME type of a file, by its name.

use std::collections::HashMap;

use http::HeaderValue;

use crate::mime_table;

/// The MIME types of files by their names: Unit's table, some types that Unit lacks, and the additions and
/// replacements of `settings.http.static.mime_types`.
///
/// A key is an extension with its dot (`.html`) or a whole file name (`README`), compared without regard to ASCII
/// case. Only the last extension counts: `a.tar.gz` is looked up as `.gz`, and `.profile` as `.profile`.
#[derive(Clone, Debug)]
pub struct MimeTypes {
    /// By extension or file name, in lower case.
    by_name: HashMap<Box<[u8]>, MimeType>,
}

#[derive(Clone, Debug)]
struct MimeType {
    text: Box<str>,
    /// `None` for the empty type, which means no type.
    field: Option<HeaderValue>,
}

/// Why an addition to the table is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MimeTypeError {
    /// As in Unit.
    #[error("an extension of the MIME type \"{0}\" is empty")]
    EmptyExtension(String),
    /// As in Unit, even if both types are the same.
    #[error(
        "the extension \"{extension}\" is given to the MIME types \"{first}\" and \"{second}\""
    )]
    Twice {
        /// The extension as written the second time.
        extension: String,
        /// The type of the first addition.
        first: String,
        /// The type of the second addition.
        second: String,
    },
    /// Stricter than Unit, which sends even line breaks.
    #[error("the MIME type \"{}\" is not a valid value of a header field", .0.escape_debug())]
    NotAField(String),
}

impl MimeTypes {
    /// The built-in types with `additions`, pairs of a type and an extension or file name.
    ///
    /// An addition has precedence over the table. The empty type removes a name from it.
    ///
    /// # Errors
    ///
    /// For the first addition that is empty or a duplicate, or whose type is not valid in a header field.
    pub fn new<'a>(
        additions: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, MimeTypeError> {
        let mut added: HashMap<Box<[u8]>, MimeType> = HashMap::new();
        for (text, extension) in additions {
            if extension.is_empty() {
                return Err(MimeTypeError::EmptyExtension(text.to_owned()));
            }
            let field = HeaderValue::from_str(text)
                .map_err(|_| MimeTypeError::NotAField(text.to_owned()))?;
            let mime_type = MimeType {
                text: text.into(),
                field: (!text.is_empty()).then_some(field),
            };
            let name = extension.as_bytes().to_ascii_lowercase().into();
            if let Some(first) = added.insert(name, mime_type) {
                return Err(MimeTypeError::Twice {
                    extension: extension.to_owned(),
                    first: first.text.into(),
                    second: text.to_owned(),
                });
            }
        }
        let mut types = Self::default();
        types.by_name.extend(added);
        Ok(types)
    }

    /// The type of the file at `path`, and its header field; `""` and `None` if it is unknown.
    pub(crate) fn of(&self, path: &[u8]) -> (&str, Option<&HeaderValue>) {
        /// Longer than any key that is in use; a longer one costs an allocation.
        const SHORT: usize = 32;
        let extension = extension(path);
        let mut short = [0; SHORT];
        let found = match short.get_mut(..extension.len()) {
            Some(name) => {
                name.copy_from_slice(extension);
                name.make_ascii_lowercase();
                self.by_name.get(&*name)
            }
            None => self.by_name.get(&*extension.to_ascii_lowercase()),
        };
        found.map_or(("", None), |found| (&*found.text, found.field.as_ref()))
    }
}

/// The built-in types.
impl Default for MimeTypes {
    fn default() -> Self {
        let mut by_name = HashMap::new();
        for &(text, extensions) in mime_table::UNIT_S.iter().chain(mime_table::FURTHER) {
            for extension in extensions {
                let mime_type = MimeType {
                    text: text.into(),
                    field: Some(HeaderValue::from_static(text)),
                };
                by_name.insert(extension.as_bytes().into(), mime_type);
            }
        }
        Self { by_name }
    }
}

/// From the last dot on, dot included, or the whole file name if it has none.
fn extension(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|byte| matches!(byte, b'.' | b'/')) {
        Some(at) if path[at] == b'/' => &path[at + 1..],
        Some(at) => &path[at..],
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str) -> String {
        MimeTypes::default().of(path.as_bytes()).0.to_owned()
    }

    #[test]
    fn the_last_extension_counts_in_any_case() {
        assert_eq!(of("/a/b.txt.HTML"), "text/html");
        assert_eq!(of("/a.html/b"), "");
        assert_eq!(of("/a/.html"), "text/html");
        assert_eq!(of("/a/html"), "");
        assert_eq!(of("index.html"), "text/html");
        assert_eq!(of("/a/b."), "");
        assert_eq!(of(""), "");
        assert_eq!(of(&format!("/a.{}", "h".repeat(200))), "");
    }

    #[test]
    fn extensions_that_unit_lacks_have_mime_types() {
        for (path, expected) in [
            ("/a.wasm", "application/wasm"),
            ("/a.webmanifest", "application/manifest+json"),
            ("/a.JXL", "image/jxl"),
            ("/a.js.map", "application/json"),
            ("/a.tar.gz", "application/gzip"),
            ("/a.yml", "application/yaml"),
            ("/a.glb", "model/gltf-binary"),
            ("/a.opus", "audio/ogg"),
            ("/a.csv", "text/csv"),
            ("/a.unknown", ""),
        ] {
            assert_eq!(of(path), expected, "{path}");
        }
    }

    #[test]
    fn unit_s_mime_types_stay_and_no_extension_has_two() {
        let further = mime_table::FURTHER.iter();
        let mut seen = std::collections::HashSet::new();
        for &(text, extensions) in mime_table::UNIT_S.iter().chain(further) {
            for extension in extensions {
                assert!(seen.insert(extension), "{extension} is there twice");
                assert_eq!(of(&format!("/a{extension}")), text);
                assert_eq!(*extension, extension.to_ascii_lowercase());
            }
        }
        for (path, expected) in [
            ("/a.mjs", "application/javascript"),
            ("/a.js", "application/javascript"),
            ("/a.avif", "image/avif"),
            ("/a.iso", "application/octet-stream"),
            ("/a.ico", "image/x-icon"),
        ] {
            assert_eq!(of(path), expected, "{path}");
        }
    }

    #[test]
    fn additions_come_before_the_table() {
        let types = MimeTypes::new([
            ("text/plain", ".html"),
            ("text/x-code", "Makefile"),
            ("", ".css"),
            ("text/x-typescript", ".ts"),
        ])
        .unwrap();
        assert_eq!(types.of(b"/a.HTML").0, "text/plain");
        assert_eq!(types.of(b"/x/makefile").1.unwrap(), "text/x-code");
        assert_eq!(types.of(b"/a.css"), ("", None));
        assert_eq!(types.of(b"/a.js").0, "application/javascript");
        assert_eq!(types.of(b"/a.ts").0, "text/x-typescript");
    }

    #[test]
    fn what_means_nothing_is_refused() {
        let error = |additions: &[(&'static str, &'static str)]| {
            MimeTypes::new(additions.iter().copied())
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            error(&[("a/b", "")]),
            "an extension of the MIME type \"a/b\" is empty"
        );
        assert_eq!(
            error(&[("a/b", "readme"), ("c/d", "README")]),
            "the extension \"README\" is given to the MIME types \"a/b\" and \"c/d\""
        );
        assert_eq!(
            error(&[("a/b\r\nx: y", ".x")]),
            "the MIME type \"a/b\\r\\nx: y\" is not a valid value of a header field"
        );
    }
}
