//! The entry point for fuzzing. Exists in test and fuzzing builds only.

#[cfg(test)]
mod mutations;

use std::path;
use std::time::Duration;

use crate::{
    Application, Config, Folder, Instances, Path, Value, append, bounds, delete, locate, parse,
    print, print_pretty, put,
};

/// Parses, prints, edits and checks `data`. The first line is a path, the rest a text; without a line feed all of
/// it is the text.
///
/// # Panics
///
/// If a printed value does not parse to the same value, or an edit or an error is inconsistent, which is a bug.
pub fn fuzz_text(data: &[u8]) {
    let mut lines = data.splitn(2, |&byte| byte == b'\n');
    let (target, text) = match (lines.next(), lines.next()) {
        (Some(target), Some(text)) => (target, text),
        _ => (&b""[..], data),
    };
    let value = match parse(text) {
        Ok(value) => value,
        Err(error) => {
            assert!(
                error.location.offset <= text.len(),
                "an error lies outside of the text"
            );
            return;
        }
    };
    reads_back(&value);
    check(&value);
    check_parts(&value);

    let Ok(path) = Path::parse(&String::from_utf8_lossy(target)) else {
        return;
    };
    let found = value.at(&path).is_some();
    assert!(
        locate(text, &path).is_some(),
        "a text that parses has no place for its path"
    );
    if let Ok(edited) = put(&value, &path, Value::Null) {
        assert_eq!(
            edited.at(&path),
            Some(&Value::Null),
            "what was put is not there"
        );
        reads_back(&edited);
        check(&edited);
    }
    if let Ok(edited) = append(&value, &path, value.clone()) {
        reads_back(&edited);
    }
    let deleted = delete(&value, &path);
    assert_eq!(deleted.is_ok(), found, "what is there cannot be deleted");
    if let Ok(edited) = deleted {
        reads_back(&edited);
    }
}

fn reads_back(value: &Value) {
    assert_eq!(
        parse(print(value).as_bytes()).as_ref(),
        Ok(value),
        "the short text differs"
    );
    assert_eq!(
        parse(print_pretty(value).as_bytes()).as_ref(),
        Ok(value),
        "the long text differs"
    );
}

fn check(value: &Value) {
    match Config::check(value) {
        Ok(checked) => {
            for listener in &checked.config.listeners {
                assert!(
                    value.at(&listener.path()).is_some(),
                    "a listener came from nowhere"
                );
            }
            for application in &checked.config.applications {
                check_application(value, application);
            }
        }
        Err(error) => assert!(
            !error.detail.is_empty(),
            "an error does not say what is wrong"
        ),
    }
}

/// Checks the parts that the language module also reads from environment variables.
fn check_parts(value: &Value) {
    if let Ok(folders) = Folder::check_all(value) {
        check_folders(&folders);
    }
    if let Ok(instances) = Instances::check(value) {
        check_instances(instances);
    }
}

fn check_application(value: &Value, application: &Application) {
    assert!(
        value.at(&application.component_path()).is_some(),
        "no component was named"
    );
    let folders = &application.access.filesystem;
    check_folders(folders);
    for index in 0..folders.len() {
        assert!(
            value.at(&application.folder_path(index)).is_some(),
            "a folder came from nowhere"
        );
    }
    assert!(
        application.access.outbound_http.grants().len() <= bounds::GRANTS,
        "there are too many grants"
    );
    check_instances(application.instances);
    let limits = application.limits;
    let within = |limit: u64, bounds: bounds::Whole| (bounds.least..=bounds.most).contains(&limit);
    assert!(
        limits.memory.is_none_or(|it| within(it, bounds::MEMORY)),
        "a limit of memory is out of bounds"
    );
    let concurrency = limits.concurrency.map(|it| it.get().into());
    assert!(
        concurrency.is_none_or(|it| within(it, bounds::CONCURRENCY)),
        "a limit of requests is out of bounds"
    );
    for (time, bounds) in [
        (limits.timeout, bounds::TIMEOUT),
        (limits.execution_timeout, bounds::EXECUTION_TIMEOUT),
    ] {
        let least = Duration::from_millis(1);
        let most = Duration::from_secs(bounds.most.into());
        assert!(
            time.is_none_or(|it| it == Duration::MAX || (least..=most).contains(&it)),
            "a limit of time is out of bounds"
        );
    }
}

fn check_instances(instances: Instances) {
    assert!(
        instances.concurrency <= instances.reuse
            && u64::from(instances.reuse.get()) <= bounds::INSTANCE_REUSE.most
            && u64::from(instances.concurrency.get()) <= bounds::INSTANCE_CONCURRENCY.most,
        "instances are out of bounds"
    );
}

fn check_folders(folders: &[Folder]) {
    assert!(
        folders.len() <= bounds::FOLDERS,
        "there are too many folders"
    );
    for (index, folder) in folders.iter().enumerate() {
        let name = path::Path::new(&folder.name);
        let plain = |part| matches!(part, path::Component::RootDir | path::Component::Normal(_));
        assert!(
            folder.path.is_absolute() && name.is_absolute() && name.components().all(plain),
            "a folder's path or name is not absolute"
        );
        assert!(
            !folder.name.contains('\0') && !folder.path.as_os_str().as_encoded_bytes().contains(&0),
            "a folder's path or name has a null character"
        );
        assert!(
            folders[..index].iter().all(|it| it.name != folder.name),
            "two folders have one name"
        );
    }
}
