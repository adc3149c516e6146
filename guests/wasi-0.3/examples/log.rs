//! Prints lines that are hard to log: long, binary, empty, with control characters.

use std::io::Write as _;

use guests_03::Answer;
use guests_03::wasip3::http::types::Request;

async fn handle(_: Request) -> Answer {
    println!("a line on stdout");
    eprintln!("a line on stderr");
    println!("\x1b[31mred\x07");
    let mut stdout = std::io::stdout();
    stdout.write_all(b"\xff\xfe\n").unwrap();
    println!("{}", "x".repeat(1 << 20));
    print!("an unfinished line");
    stdout.flush().unwrap();
    guests_03::answer("logged\n")
}

guests_03::guest!(handle);
