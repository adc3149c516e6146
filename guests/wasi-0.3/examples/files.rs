//! Lists the folders that it has; with `?list=PATH`, `?read=PATH` or `?write=PATH` tries that, and
//! reports the result. With `?open=PATH` or `?lists=PATH`, `&TIMES` and `&MS`, it opens a file of the first
//! folder or lists that folder so often, keeps all of them open for so many milliseconds, and tells how
//! many these were. `?entries=PATH` lists that folder and reads it.

use std::fs;
use std::io;

use guests_03::Answer;
use guests_03::wasip3::filesystem::preopens::get_directories;
use guests_03::wasip3::filesystem::types::{
    Descriptor, DescriptorFlags, ErrorCode, OpenFlags, PathFlags,
};
use guests_03::wasip3::http::types::Request;

async fn handle(request: Request) -> Answer {
    let query = guests_03::query(&request);
    let text = match query.first().and_then(|word| word.split_once('=')) {
        None => folders(),
        Some(("list", path)) => report(list(path)),
        Some(("read", path)) => report(fs::read_to_string(path)),
        Some(("write", path)) => report(fs::write(path, "written").map(|()| "written".to_owned())),
        Some(("open", name)) => open(&query, name).await,
        Some(("lists", _)) => lists(&query).await,
        Some(("entries", _)) => entries().await,
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

fn folder() -> Descriptor {
    get_directories().remove(0).0
}

/// Opens as many as it can, and keeps them for a while.
async fn open(query: &[String], name: &str) -> String {
    let folder = folder();
    let times: u32 = query[1].parse().unwrap();
    let mut all = Vec::new();
    let mut end = "all".to_owned();
    for _ in 0..times {
        let name = name.to_owned();
        let flags = DescriptorFlags::READ;
        let opened = folder.open_at(PathFlags::empty(), name, OpenFlags::empty(), flags);
        match opened.await {
            Ok(file) => all.push(file),
            Err(error) => {
                end = format!("{error:?}");
                break;
            }
        }
    }
    guests_03::sleep(&query[2..]).await;
    format!("{}: {end}\n", all.len())
}

/// Begins to list a folder again and again, and reads one entry of each.
async fn lists(query: &[String]) -> String {
    let folder = folder();
    let times: u32 = query[1].parse().unwrap();
    let mut all = Vec::new();
    for _ in 0..times {
        let (mut entries, outcome) = folder.read_directory();
        if entries.next().await.is_none() {
            break;
        }
        all.push((entries, outcome));
    }
    guests_03::sleep(&query[2..]).await;
    format!("{}\n", all.len())
}

async fn entries() -> String {
    let (mut entries, outcome) = folder().read_directory();
    let mut names = Vec::new();
    while let Some(entry) = entries.next().await {
        names.push(format!("{} {:?}", entry.name, entry.type_));
    }
    names.sort();
    let outcome: Result<(), ErrorCode> = outcome.await;
    format!("{}: {outcome:?}\n", names.join(", "))
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

guests_03::guest!(handle);
