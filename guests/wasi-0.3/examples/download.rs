//! Sends as many bytes as the query says: `?N`, with a length `?N&length`.

use guests_03::Answer;
use guests_03::wasip3::http::types::Request;

async fn handle(request: Request) -> Answer {
    let query = guests_03::query(&request);
    let size = guests_03::number(&query);
    let length = size.to_string();
    let fields: &[_] = if query.iter().any(|word| word == "length") {
        &[("content-length", length.as_str())]
    } else {
        &[]
    };
    let (response, mut body) = guests_03::begin(200, fields);
    guests_03::wasip3::spawn_local(async move {
        // Byte i of the body is i % 251: a period and a half, so that any start of one fits.
        let pattern: Vec<u8> = (0..251 * 512).map(|i: u32| (i % 251) as u8).collect();
        let mut sent = 0;
        while sent < size {
            let start = (sent % 251) as usize;
            let left = usize::try_from(size - sent).unwrap_or(usize::MAX);
            let most = (pattern.len() - start).min(left);
            if !body.write(&pattern[start..start + most]).await {
                // The client is gone.
                return;
            }
            sent += most as u64;
        }
        body.finish(None).await;
    });
    Ok(response)
}

guests_03::guest!(handle);
