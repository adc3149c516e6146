//! What a `pass` leads to.

use untrusted_text::percent;

/// A parsed `pass`, after its variables are expanded. Whether the destination exists is not checked here.
///
/// | text | destination |
/// | --- | --- |
/// | `applications/NAME` | an application |
/// | `applications/NAME/TARGET` | a target of one |
/// | `routes` | the array of steps |
/// | `routes/NAME` | one of several arrays |
/// | `upstreams/NAME` | a group of servers |
/// | `metrics` | the server's own counters |
/// | anything else of one to three segments | nothing |
///
/// Each segment is percent-decoded by itself, so that `%2F` is a slash within a name.
///
/// ```
/// use routing::Destination;
///
/// let application = Destination::Application { name: "a/b".to_owned(), target: None };
/// assert_eq!(Destination::parse(b"applications/a%2Fb"), Some(application));
/// assert_eq!(Destination::parse(b"routes"), Some(Destination::Routes(None)));
/// assert_eq!(Destination::parse(b"elsewhere"), Some(Destination::Nothing));
/// assert_eq!(Destination::parse(b"routes//main"), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// An application, and one of its targets.
    Application {
        /// The application's name.
        name: String,
        /// The target's name, if any.
        target: Option<String>,
    },
    /// The route of this name, or the unnamed one.
    Routes(Option<String>),
    /// The upstream of this name.
    Upstream(String),
    /// The server's own counters.
    Metrics,
    /// A well-formed text that is not a destination.
    Nothing,
}

impl Destination {
    /// Parses a destination. `None` for a malformed text: with an empty segment, with more than three, or with
    /// one that does not percent-decode to UTF-8.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut segments = text.split(|&byte| byte == b'/').map(|segment| {
            let decoded = percent::decode(segment)?;
            let decoded = String::from_utf8(decoded).ok();
            decoded.filter(|segment| !segment.is_empty() && !segment.contains('\0'))
        });
        let first = segments.next()??;
        let mut next = || segments.next().map_or(Some(None), |it| it.map(Some));
        let (name, target) = (next()?, next()?);
        if segments.next().is_some() {
            return None;
        }
        Some(match (first.as_str(), name, target) {
            ("applications", Some(name), target) => Self::Application { name, target },
            ("routes", name, None) => Self::Routes(name),
            ("upstreams", Some(name), None) => Self::Upstream(name),
            ("metrics", None, None) => Self::Metrics,
            _ => Self::Nothing,
        })
    }
}
