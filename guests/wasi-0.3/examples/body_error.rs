//! Reads the request's body, or that of the response from the URL in the field `x-fetch`, and
//! responds with how it ended: `whole`, or the error code. It also prints that.

use guests_03::wasip3::http::client;
use guests_03::wasip3::http::types::{ErrorCode, Fields, Request, Response, Scheme, Trailers};
use guests_03::wasip3::wit_bindgen::rt::async_support::{FutureReader, StreamReader, StreamResult};
use guests_03::wasip3::wit_future;
use guests_03::{Answer, Incoming};

async fn handle(request: Request) -> Answer {
    let url = request.get_headers().get("x-fetch").pop();
    let (stream, end) = match url {
        Some(url) => fetch(&String::from_utf8(url).unwrap()).await,
        None => Incoming::of(request).into_parts(),
    };
    let end = read(stream, end).await;
    let end = end.map_or_else(|code| format!("{code:?}\n"), |()| "whole\n".to_owned());
    print!("the body ended: {end}");
    guests_03::answer(end)
}

type End = FutureReader<Result<Option<Trailers>, ErrorCode>>;

/// Reads a body to its end.
async fn read(mut stream: StreamReader<u8>, end: End) -> Result<(), ErrorCode> {
    while let (StreamResult::Complete(_), _) = stream.read(Vec::with_capacity(64 * 1024)).await {}
    drop(stream);
    end.await.map(drop)
}

async fn fetch(url: &str) -> (StreamReader<u8>, End) {
    let (authority, path) = url
        .strip_prefix("http://")
        .and_then(|rest| Some(rest.split_at(rest.find('/')?)))
        .unwrap();
    let (_, no_trailers) = wit_future::new(|| Ok(None));
    let request = Request::new(Fields::new(), None, no_trailers, None).0;
    request.set_scheme(Some(&Scheme::Http)).unwrap();
    request.set_authority(Some(authority)).unwrap();
    request.set_path_with_query(Some(path)).unwrap();
    let response = client::send(request).await.unwrap();
    let (_, taken) = wit_future::new(|| Ok(()));
    Response::consume_body(response, taken)
}

guests_03::guest!(handle);
