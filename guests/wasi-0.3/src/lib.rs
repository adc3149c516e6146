//! The guests of the tests once more, for `wasi:http/service` of WASI 0.3. Each does what its namesake
//! in `guests/examples/` does, and asks for the same.
//!
//! A guest whose host breaks the rules may panic: the test that runs it fails then.

#[path = "../../src/words.rs"]
mod words;

use std::time::Duration;

pub use wasip3;
use wasip3::http::types::{ErrorCode, Fields, Request, Response, Trailers};
use wasip3::wit_bindgen::rt::async_support::{
    FutureReader, FutureWriter, StreamReader, StreamResult, StreamWriter,
};
use wasip3::{wit_future, wit_stream};

pub use words::{authority_and_path, compute, number, value};

/// Makes the async function `handle` of the guest its handler.
#[macro_export]
macro_rules! guest {
    ($handle:path) => {
        struct Handler;

        impl $crate::wasip3::exports::http::handler::Guest for Handler {
            async fn handle(
                request: $crate::wasip3::http::types::Request,
            ) -> Result<
                $crate::wasip3::http::types::Response,
                $crate::wasip3::http::types::ErrorCode,
            > {
                $handle(request).await
            }
        }

        $crate::wasip3::http::service::export!(Handler with_types_in $crate::wasip3);
    };
}

/// What a guest answers.
pub type Answer = Result<Response, ErrorCode>;

/// The words of the query: `?a&b=c` has `a` and `b=c`.
#[must_use]
pub fn query(request: &Request) -> Vec<String> {
    words::of_path(&request.get_path_with_query().unwrap_or_default())
}

/// Waits for as many milliseconds as the first number among the words says.
pub async fn sleep(words: &[String]) {
    let wait = Duration::from_millis(number(words));
    if !wait.is_zero() {
        let nanoseconds = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        wasip3::clocks::monotonic_clock::wait_for(nanoseconds).await;
    }
}

/// A response's body that is being written. If it is dropped before it is finished, it is cut off.
pub struct Body {
    stream: StreamWriter<u8>,
    end: FutureWriter<Result<Option<Trailers>, ErrorCode>>,
}

impl Body {
    /// Writes a piece, and waits until the host has read it: `false` if the host has dropped the body.
    pub async fn write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes.to_vec()).await.is_empty()
    }

    /// Ends the body.
    pub async fn finish(self, trailers: Option<Trailers>) {
        drop(self.stream);
        // Fails if the host has dropped the body.
        let _ = self.end.write(Ok(trailers)).await;
    }
}

/// A response with these fields, and its body.
///
/// # Panics
///
/// When the host refuses the fields or the status.
#[must_use]
pub fn begin(status: u16, fields: &[(&str, &str)]) -> (Response, Body) {
    let (stream, contents) = wit_stream::new();
    let (end, ends) = wit_future::new(|| Err(ErrorCode::InternalError(None)));
    let response = Response::new(self::fields(fields), Some(contents), ends).0;
    response.set_status_code(status).unwrap();
    (response, Body { stream, end })
}

/// A response without a body.
///
/// # Panics
///
/// When the host refuses the fields or the status.
#[must_use]
pub fn empty(status: u16, fields: &[(&str, &str)]) -> Response {
    let (_, no_trailers) = wit_future::new(|| Ok(None));
    let response = Response::new(self::fields(fields), None, no_trailers).0;
    response.set_status_code(status).unwrap();
    response
}

fn fields(fields: &[(&str, &str)]) -> Fields {
    let headers = Fields::new();
    for (name, value) in fields {
        headers.append(name, value.as_bytes()).unwrap();
    }
    headers
}

/// Answers 200 with this text.
///
/// # Errors
///
/// None: this is what a handler returns.
pub fn answer(text: impl AsRef<[u8]>) -> Answer {
    let (response, body) = begin(200, &[("content-type", "text/plain")]);
    send(body, text);
    Ok(response)
}

/// Writes a complete body, after the handler has returned.
pub fn send(mut body: Body, text: impl AsRef<[u8]>) {
    let text = text.as_ref().to_vec();
    wasip3::spawn_local(async move {
        body.write(&text).await;
        body.finish(None).await;
    });
}

/// A request's body.
pub struct Incoming {
    stream: StreamReader<u8>,
    end: FutureReader<Result<Option<Trailers>, ErrorCode>>,
}

impl Incoming {
    /// The body of this request.
    #[must_use]
    pub fn of(request: Request) -> Self {
        let (_, taken) = wit_future::new(|| Ok(()));
        let (stream, end) = Request::consume_body(request, taken);
        Self { stream, end }
    }

    /// The next piece of at most so many bytes; `None` at the end.
    pub async fn read(&mut self, most: usize) -> Option<Vec<u8>> {
        let (result, piece) = self.stream.read(Vec::with_capacity(most)).await;
        match result {
            StreamResult::Complete(_) => Some(piece),
            StreamResult::Dropped | StreamResult::Cancelled => None,
        }
    }

    /// How the body ended: with trailers perhaps, or before its end.
    ///
    /// # Errors
    ///
    /// What became of it before its end.
    pub async fn finish(self) -> Result<Option<Trailers>, ErrorCode> {
        drop(self.stream);
        self.end.await
    }

    /// The stream and its end as they are, to be passed on.
    #[must_use]
    pub fn into_parts(
        self,
    ) -> (
        StreamReader<u8>,
        FutureReader<Result<Option<Trailers>, ErrorCode>>,
    ) {
        (self.stream, self.end)
    }
}
