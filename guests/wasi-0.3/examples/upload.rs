//! Sends an outbound request whose body it writes itself, as the field `x-fetch` says: `METHOD URL`, then
//! `none` (no body), `text=TEXT` (the complete body), `late` (waits for the response before it writes) and
//! `te` (sends that field). Its response is the body of the one that it receives.

use guests_03::wasip3::http::client;
use guests_03::wasip3::http::types::{Fields, Method, Request, Response, Scheme};
use guests_03::wasip3::{spawn_local, wit_future, wit_stream};
use guests_03::{Answer, answer};

async fn handle(request: Request) -> Answer {
    let call = request.get_headers().get("x-fetch").remove(0);
    let call = String::from_utf8(call).unwrap();
    let words: Vec<&str> = call.split(' ').collect();
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
