//! Responses of HTTP/1, as `client` reads them, and what cases check about them.

/// Status line and fields of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// As in `HTTP/1.1`.
    pub version: String,
    /// The code.
    pub status: u16,
    /// Names in lower case with their values, in the order received.
    pub fields: Vec<(String, String)>,
}

/// A response, or what was received of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status line and fields.
    pub head: Head,
    /// The content, without its framing.
    pub body: Vec<u8>,
    /// The fields after a chunked body.
    pub trailers: Vec<(String, String)>,
    /// Whether it is complete.
    pub end: End,
    /// All of its bytes, as received.
    pub raw: Vec<u8>,
}

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Complete by its framing, or, without framing, by an orderly end of the connection.
    Complete,
    /// The connection ended in order before the response did.
    CutOff,
    /// The connection was reset before the response ended.
    Reset,
}

/// How the content of a response is framed (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    Length(usize),
    Chunked,
    UntilClose,
}

impl Head {
    /// Reads a head, without the empty line at its end.
    ///
    /// # Panics
    ///
    /// When it is malformed.
    pub(crate) fn parse(text: &[u8]) -> Self {
        let text = std::str::from_utf8(text).expect("the head is not UTF-8");
        let mut lines = text.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let [version, status, _reason] = *status_line.splitn(3, ' ').collect::<Vec<_>>() else {
            panic!("no status line: {status_line:?}");
        };
        assert!(version.starts_with("HTTP/1."), "{status_line:?}");
        assert_eq!(status.len(), 3, "{status_line:?}");
        Self {
            version: version.to_owned(),
            status: status.parse().expect("the status is not a number"),
            fields: lines.map(field).collect(),
        }
    }

    /// The value of a field.
    ///
    /// # Panics
    ///
    /// When there are several.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(field, _)| field == name);
        let value = values.next();
        assert!(values.next().is_none(), "several {name}: {:?}", self.fields);
        value.map(|(_, value)| value.as_str())
    }

    pub(crate) fn framing(&self, method: &str) -> Framing {
        let without_body =
            method == "HEAD" || self.status < 200 || matches!(self.status, 204 | 304);
        let length = self.field("content-length");
        match self.field("transfer-encoding") {
            _ if without_body => Framing::None,
            Some(coding) => {
                assert_eq!(coding, "chunked");
                assert_eq!(length, None, "both lengths");
                Framing::Chunked
            }
            None => length.map_or(Framing::UntilClose, |length| {
                Framing::Length(length.parse().expect("the length is not a number"))
            }),
        }
    }
}

impl Response {
    /// The content as text.
    ///
    /// # Panics
    ///
    /// When it is not UTF-8.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is not UTF-8")
    }

    /// Checks that this is the complete error page for `status`, without other fields or content.
    ///
    /// # Panics
    ///
    /// When it is not.
    #[track_caller]
    pub fn assert_page(&self, status: u16) {
        assert_eq!(self.end, End::Complete, "{self:?}");
        assert_eq!(self.head.status, status, "{self:?}");
        assert_eq!(self.text(), page(status));
        for (name, _) in &self.head.fields {
            let known = [
                "content-type",
                "content-length",
                "server",
                "date",
                "connection",
                "retry-after",
            ];
            assert!(known.contains(&name.as_str()), "{name} in {self:?}");
        }
    }

    /// Checks that this is a complete response with status 200 and this content.
    ///
    /// # Panics
    ///
    /// When it is not.
    #[track_caller]
    pub fn assert_text(&self, text: &str) {
        assert_eq!(
            (self.head.status, self.text(), self.end),
            (200, text, End::Complete)
        );
    }
}

/// The text of the error page for `status`.
#[must_use]
pub(crate) fn page(status: u16) -> String {
    format!("<!DOCTYPE html><title>Error {status}</title><p>Error {status}.\r\n")
}

/// One field's line.
pub(crate) fn field(line: &str) -> (String, String) {
    let Some((name, value)) = line.split_once(':') else {
        panic!("no field: {line:?}");
    };
    assert!(
        !name.is_empty() && !name.contains([' ', '\t']),
        "a bad name: {line:?}"
    );
    assert!(!line.contains(['\r', '\n', '\0']), "a bad byte: {line:?}");
    (name.to_ascii_lowercase(), value.trim().to_owned())
}
