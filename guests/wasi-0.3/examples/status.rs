//! Responds with the status of the query: `?CODE`, with a body `?CODE&body`.

use guests_03::Answer;
use guests_03::wasip3::http::types::Request;

async fn handle(request: Request) -> Answer {
    let query = guests_03::query(&request);
    let status = u16::try_from(guests_03::number(&query)).unwrap();
    if !query.iter().any(|word| word == "body") {
        return Ok(guests_03::empty(status, &[]));
    }
    let (response, body) = guests_03::begin(status, &[]);
    // Where there is no place for a body, the host may not take it.
    guests_03::send(body, "body\n");
    Ok(response)
}

guests_03::guest!(handle);
