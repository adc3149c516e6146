//! Lists the folders that it has; with `?list=PATH`, `?read=PATH` or `?write=PATH` tries that, and
//! reports the result. With `?open=PATH` or `?lists=PATH`, `&TIMES` and `&MS`, it opens a file or lists a
//! folder so often, keeps all of them open for so many milliseconds, and reports their number.

use std::fs::{self, File};
use std::io;

use guests::wasip2::filesystem::preopens::get_directories;
use guests::wasip2::filesystem::types::{Descriptor, DirectoryEntryStream, ErrorCode};
use guests::wasip2::http::types::{IncomingRequest, ResponseOutparam};

fn handle(request: IncomingRequest, out: ResponseOutparam) {
    let query = guests::query(&request);
    let text = match query.first().and_then(|word| word.split_once('=')) {
        None => folders(),
        Some(("list", path)) => report(list(path)),
        Some(("read", path)) => report(fs::read_to_string(path)),
        Some(("write", path)) => report(fs::write(path, "written").map(|()| "written".to_owned())),
        Some(("open", path)) => keep(&query, || File::open(path)),
        Some(("lists", path)) => keep(&query, || lists(path)),
        Some((other, _)) => panic!("cannot {other}"),
    };
    guests::answer(out, text);
}

fn folders() -> String {
    let mut names: Vec<String> = get_directories()
        .into_iter()
        .map(|(_, name)| name + "\n")
        .collect();
    names.sort();
    names.concat()
}

/// Opens as many as it can, and keeps them for a while.
fn keep<T, E: std::fmt::Debug>(query: &[String], open: impl Fn() -> Result<T, E>) -> String {
    let times: u32 = query[1].parse().unwrap();
    let mut all = Vec::new();
    let mut end = "all".to_owned();
    for _ in 0..times {
        match open() {
            Ok(one) => all.push(one),
            Err(error) => {
                end = format!("{error:?}");
                break;
            }
        }
    }
    guests::sleep(&query[2..]);
    format!("{}: {end}\n", all.len())
}

/// Lists a folder that the guest was given, without reading the entries.
fn lists(path: &str) -> Result<DirectoryEntryStream, ErrorCode> {
    let given = |(_, name): &(Descriptor, String)| name == path;
    let folder = get_directories().into_iter().find(given);
    folder.ok_or(ErrorCode::NoEntry)?.0.read_directory()
}

fn list(path: &str) -> io::Result<String> {
    let mut names = fs::read_dir(path)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names.join(" "))
}

fn report(result: io::Result<String>) -> String {
    match result {
        Ok(text) => format!("ok: {text}\n"),
        Err(error) => format!("error: {error}\n"),
    }
}

guests::guest!(handle);
