//! Sends a request whose body it writes itself, as its field `x-fetch` says: `METHOD URL`, and behind
//! them `none` (it has no body), `text=TEXT` (which is all of it), `late` (it waits for the response
//! first) and `te` (it has that field). What comes back is the body of its response.

use guests_03::wasip3::http::client;
use guests_03::wasip3::http::types::{Fields, Method, Request, Response, Scheme};
use guests_03::wasip3::{spawn_local, wit_future, wit_stream};
use guests_03::{Answer, answer};

async fn handle(request: Request) -> Answer {
    let told = request.get_headers().get("x-fetch").remove(0);
    let told = String::from_utf8(told).unwrap();
    let words: Vec<&str> = told.split(' ').collect();
    let fields = Fields::new();
    if words.contains(&"te") {
        fields.append("te", b"trailers").unwrap();
    }
    let (mut stream, contents) = wit_stream::new();
    let (end, ends) = wit_future::new(|| Ok(None));
    let has_body = !words.contains(&"none");
    let outgoing = Request::new(fields, has_body.then_some(contents), ends, None).0;
    let (authority, path) = guests_03::authority_and_path(words[1]);
    let method = Method::Other(words[0].to_owned());
    outgoing.set_method(&method).unwrap();
    outgoing.set_scheme(Some(&Scheme::Http)).unwrap();
    outgoing.set_authority(Some(authority)).unwrap();
    outgoing.set_path_with_query(Some(path)).unwrap();
    let text = words.iter().find_map(|word| word.strip_prefix("text="));
    let text = text.unwrap_or_default().as_bytes().to_vec();
    let write = async move {
        if !text.is_empty() {
            stream.write_all(text).await;
        }
        drop(stream);
        let _ = end.write(Ok(None)).await;
    };
    let sent = if words.contains(&"late") {
        let sent = client::send(outgoing).await;
        spawn_local(write);
        sent
    } else {
        spawn_local(write);
        client::send(outgoing).await
    };
    let response = match sent {
        Ok(response) => response,
        Err(code) => return answer(format!("error: {code:?}\n")),
    };
    let (_, taken) = wit_future::new(|| Ok(()));
    let (body, _) = Response::consume_body(response, taken);
    answer(body.collect().await)
}

guests_03::guest!(handle);
