//! Exits with status 3: `?before` its response, or `?after` its complete response.

use guests_03::Answer;
use guests_03::wasip3::http::types::Request;

async fn handle(request: Request) -> Answer {
    if guests_03::query(&request)
        .iter()
        .any(|word| word == "after")
    {
        let (response, mut body) = guests_03::begin(200, &[]);
        guests_03::wasip3::spawn_local(async move {
            body.write(b"answered\n").await;
            body.finish(None).await;
            std::process::exit(3);
        });
        return Ok(response);
    }
    std::process::exit(3);
}

guests_03::guest!(handle);
