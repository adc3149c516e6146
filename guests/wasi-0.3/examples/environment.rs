//! Prints its environment.

use guests_03::Answer;
use guests_03::wasip3::cli::environment::get_environment;
use guests_03::wasip3::http::types::Request;

async fn handle(_: Request) -> Answer {
    let mut lines: Vec<_> = get_environment()
        .into_iter()
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect();
    lines.sort();
    guests_03::answer(lines.concat())
}

guests_03::guest!(handle);
