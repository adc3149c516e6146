//! Prints lines that are hard to log: long, binary, empty, with control characters.

use std::io::Write as _;

use guests::wasip2::http::types::{IncomingRequest, ResponseOutparam};

fn handle(_: IncomingRequest, out: ResponseOutparam) {
    println!("a line on stdout");
    eprintln!("a line on stderr");
    println!("\x1b[31mred\x07");
    let mut stdout = std::io::stdout();
    stdout.write_all(b"\xff\xfe\n").unwrap();
    println!("{}", "x".repeat(1 << 20));
    print!("an unfinished line");
    stdout.flush().unwrap();
    guests::answer(out, "logged\n");
}

guests::guest!(handle);
