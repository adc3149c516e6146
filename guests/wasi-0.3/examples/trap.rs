//! Traps before its response.

use guests_03::Answer;
use guests_03::wasip3::http::types::Request;

async fn handle(_: Request) -> Answer {
    panic!("a secret of the guest");
}

guests_03::guest!(handle);
