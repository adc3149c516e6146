//! Sleeps for `?MS` milliseconds before its response.

use guests_03::Answer;
use guests_03::wasip3::http::types::Request;

async fn handle(request: Request) -> Answer {
    guests_03::sleep(&guests_03::query(&request)).await;
    guests_03::answer("slept\n")
}

guests_03::guest!(handle);
