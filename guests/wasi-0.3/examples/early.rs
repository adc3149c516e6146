//! Responds without reading the body.

use guests_03::Answer;
use guests_03::wasip3::http::types::Request;

async fn handle(_: Request) -> Answer {
    guests_03::answer("early\n")
}

guests_03::guest!(handle);
