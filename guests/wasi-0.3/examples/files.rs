//! Tells which folders it has; with `?list=PATH`, `?read=PATH` or `?write=PATH` tries that, and
//! tells how it ends.

use std::fs;
use std::io;

use guests_03::Answer;
use guests_03::wasip3::filesystem::preopens::get_directories;
use guests_03::wasip3::http::types::Request;

async fn handle(request: Request) -> Answer {
    let query = guests_03::query(&request);
    let text = match query.first().and_then(|word| word.split_once('=')) {
        None => folders(),
        Some(("list", path)) => told(list(path)),
        Some(("read", path)) => told(fs::read_to_string(path)),
        Some(("write", path)) => told(fs::write(path, "written").map(|()| "written".to_owned())),
        Some((other, _)) => panic!("cannot {other}"),
    };
    guests_03::answer(text)
}

fn folders() -> String {
    let mut names: Vec<String> = get_directories()
        .into_iter()
        .map(|(_, name)| name + "\n")
        .collect();
    names.sort();
    names.concat()
}

fn list(path: &str) -> io::Result<String> {
    let mut names = fs::read_dir(path)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names.join(" "))
}

fn told(result: io::Result<String>) -> String {
    match result {
        Ok(text) => format!("ok: {text}\n"),
        Err(error) => format!("error: {error}\n"),
    }
}

guests_03::guest!(handle);
