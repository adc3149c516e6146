//! An application's configuration, copied out of unitd's structures. What its options mean is up to
//! `unit-app`.

use std::ffi::{CStr, OsStr, c_char};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::Value;
use engine::Directory;
use unit_sys::{
    nxt_common_app_conf_t, nxt_conf_array_elements_count, nxt_conf_get_array_element,
    nxt_conf_get_boolean, nxt_conf_get_number, nxt_conf_get_object_member, nxt_conf_get_string,
    nxt_conf_next_object_member, nxt_conf_type, nxt_conf_type_t_NXT_CONF_ARRAY,
    nxt_conf_type_t_NXT_CONF_BOOLEAN, nxt_conf_type_t_NXT_CONF_INTEGER,
    nxt_conf_type_t_NXT_CONF_NUMBER, nxt_conf_type_t_NXT_CONF_OBJECT,
    nxt_conf_type_t_NXT_CONF_STRING, nxt_conf_value_t, nxt_process_t, nxt_str_t,
};

use crate::ffi;
use crate::isolation::{Credentials, Isolation};

/// The members of an application's configuration that the module uses. unitd has checked the types of
/// all values except those in `access.filesystem`.
#[derive(Debug)]
pub(crate) struct Configuration {
    pub(crate) name: String,
    /// The component's file, as the application's processes see it.
    pub(crate) component: PathBuf,
    pub(crate) isolation: Isolation,
    /// `environment`, in its order.
    pub(crate) environment: Vec<(String, String)>,
    /// `access.filesystem`.
    pub(crate) directories: Vec<Directory>,
    /// `limits.timeout`.
    pub(crate) timeout: Option<Duration>,
    /// The most shared memory for responses, in bytes: `limits.shm`.
    pub(crate) shared_memory: usize,
    /// Whether `stdout` is set. Unit makes that file the standard output of the processes.
    pub(crate) has_stdout: bool,
}

impl Configuration {
    /// # Errors
    ///
    /// When a name or a text is not UTF-8, there is no component, or `access.filesystem` is invalid.
    ///
    /// # Safety
    ///
    /// `process` and `conf` must be what unitd calls `setup()` with, while it does.
    pub(crate) unsafe fn read(
        process: *const nxt_process_t,
        conf: *const nxt_common_app_conf_t,
    ) -> Result<Self, String> {
        // SAFETY: by the caller's promise `conf` is unitd's, and lives as long as this function.
        let conf = unsafe { &*conf };
        // SAFETY: unitd fills the member of the union that belongs to the type of this module.
        let (component, access) = unsafe { component(conf) };
        // SAFETY: paths in the configuration are NULL or end in NUL.
        let directory = unsafe { path(conf.working_directory) };
        // SAFETY: as above.
        let component = unsafe { path(component) };
        // SAFETY: by the caller's promise.
        let (root, credentials) = unsafe { (root(process), credentials(process)) };
        // SAFETY: `name` is unitd's string for the application.
        let name = unsafe { text(&conf.name) }?;
        let of_application = |error| format!("application {name:?}: {error}");
        // SAFETY: `environment`, `access` and `limits` are NULL or objects that unitd has checked.
        let (environment, directories, timeout) = unsafe {
            (
                pairs(conf.environment).map_err(of_application)?,
                directories(access).map_err(of_application)?,
                number(conf.limits, "timeout"),
            )
        };
        Ok(Self {
            component: component
                .ok_or_else(|| of_application("no component is configured".into()))?,
            name,
            isolation: Isolation {
                root,
                directory,
                credentials,
            },
            environment,
            directories,
            timeout: timeout
                .filter(|seconds| *seconds > 0.0)
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            shared_memory: conf.shm_limit,
            has_stdout: !conf.stdout_log.is_null(),
        })
    }
}

/// # Safety
///
/// `process` must be the prototype process's.
unsafe fn credentials(process: *const nxt_process_t) -> Option<Credentials> {
    // SAFETY: by the caller's promise; unitd's credentials are NULL or complete.
    unsafe {
        let user = (*process).user_cred.as_ref()?;
        let count = usize::try_from(user.ngroups).unwrap_or_default();
        let groups = if user.gids.is_null() || count == 0 {
            Vec::new()
        } else {
            std::slice::from_raw_parts(user.gids, count).to_vec()
        };
        Some(Credentials {
            user: user.uid,
            group: user.base_gid,
            groups,
        })
    }
}

/// # Safety
///
/// `conf` must be of an application of this module's type.
#[cfg(not(feature = "wasi-component-type"))]
unsafe fn component(conf: &nxt_common_app_conf_t) -> (*const c_char, *const nxt_conf_value_t) {
    // SAFETY: by the caller's promise this is the member in use.
    let own = unsafe { conf.u.wasm };
    (own.module, own.access)
}

/// # Safety
///
/// `conf` must be of an application of this module's type.
#[cfg(feature = "wasi-component-type")]
unsafe fn component(conf: &nxt_common_app_conf_t) -> (*const c_char, *const nxt_conf_value_t) {
    // SAFETY: by the caller's promise this is the member in use.
    let own = unsafe { conf.u.wasm_wc };
    (own.component, own.access)
}

/// The folder that `isolation.rootfs` makes the root of the application's processes.
///
/// # Safety
///
/// `process` must be the prototype process's.
#[cfg(unit_rootfs)]
unsafe fn root(process: *const nxt_process_t) -> Option<PathBuf> {
    // SAFETY: by the caller's promise; the path is NULL or ends in NUL.
    unsafe { path((*process).isolation.rootfs.cast()) }
}

/// # Safety
///
/// None is needed: this Unit has no `isolation.rootfs`.
#[cfg(not(unit_rootfs))]
unsafe fn root(_: *const nxt_process_t) -> Option<PathBuf> {
    None
}

/// # Safety
///
/// `path` must be NULL or end in NUL.
unsafe fn path(path: *const c_char) -> Option<PathBuf> {
    if path.is_null() {
        return None;
    }
    // SAFETY: by the caller's promise.
    let path = unsafe { CStr::from_ptr(path) };
    let path = Path::new(OsStr::from_bytes(path.to_bytes()));
    (!path.as_os_str().is_empty()).then(|| path.to_owned())
}

/// # Safety
///
/// `string` must be one of unitd's.
unsafe fn text(string: &nxt_str_t) -> Result<String, String> {
    // SAFETY: by the caller's promise it is as long as it says.
    let bytes = unsafe { ffi::bytes(string.start, string.length) };
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(format!(
            "the configuration contains \"{}\", which is not UTF-8",
            bytes.escape_ascii()
        )),
    }
}

/// # Safety
///
/// `value` must be a string.
unsafe fn string(value: *const nxt_conf_value_t) -> Result<String, String> {
    let mut string = EMPTY;
    // SAFETY: by the caller's promise; the string lives as long as the value.
    unsafe {
        nxt_conf_get_string(value, &raw mut string);
        text(&string)
    }
}

/// # Safety
///
/// `object` must be NULL or an object.
unsafe fn member(object: *const nxt_conf_value_t, name: &str) -> *const nxt_conf_value_t {
    if object.is_null() {
        return std::ptr::null();
    }
    let name = nxt_str_t {
        length: name.len(),
        start: name.as_ptr().cast_mut(),
    };
    // SAFETY: by the caller's promise; unitd only reads the name, and needs no index.
    unsafe { nxt_conf_get_object_member(object, &raw const name, std::ptr::null_mut()) }
}

/// # Safety
///
/// `object` must be NULL or an object whose member `name`, if there is one, is a number.
unsafe fn number(object: *const nxt_conf_value_t, name: &str) -> Option<f64> {
    // SAFETY: by the caller's promise.
    let value = unsafe { member(object, name) };
    // SAFETY: as above. unitd only reads the value, though its declaration does not say so.
    (!value.is_null()).then(|| unsafe { nxt_conf_get_number(value.cast_mut()) })
}

/// # Safety
///
/// `object` must be NULL or an object of strings.
unsafe fn pairs(object: *const nxt_conf_value_t) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    if object.is_null() {
        return Ok(pairs);
    }
    let (mut name, mut next) = (EMPTY, 0);
    loop {
        // SAFETY: by the caller's promise; `next` counts unitd's steps through the object.
        let value = unsafe { nxt_conf_next_object_member(object, &raw mut name, &raw mut next) };
        if value.is_null() {
            return Ok(pairs);
        }
        // SAFETY: unitd has set `name`, and `value` is a string by the caller's promise.
        pairs.push(unsafe { (text(&name)?, string(value)?) });
    }
}

/// # Safety
///
/// `access` must be NULL or an object whose `filesystem`, if there is one, is an array.
unsafe fn directories(access: *const nxt_conf_value_t) -> Result<Vec<Directory>, String> {
    // SAFETY: by the caller's promise.
    let array = unsafe { member(access, "filesystem") };
    if array.is_null() {
        return Ok(Vec::new());
    }
    // SAFETY: it is one of unitd's values.
    let value = unsafe { value(array, FILESYSTEM_DEPTH) }?;
    unit_app::directories(&value).map_err(|error| {
        let hint = error
            .suggestion
            .map_or_else(String::new, |word| format!(" Did you mean {word:?}?"));
        format!("access.filesystem{}: {}{hint}", error.path, error.detail)
    })
}

/// The array, its elements, and the members of those that are objects.
const FILESYSTEM_DEPTH: usize = 2;

/// A copy of a value, down to `depth` levels below it; deeper values are left out. Numbers become 0,
/// since the description of a folder has none.
///
/// # Safety
///
/// `value` must be one of unitd's values.
unsafe fn value(value: *const nxt_conf_value_t, depth: usize) -> Result<Value, String> {
    // SAFETY: by the caller's promise.
    let kind = unsafe { nxt_conf_type(value) };
    if kind == nxt_conf_type_t_NXT_CONF_STRING {
        // SAFETY: it is a string.
        return Ok(Value::String(unsafe { string(value) }?));
    }
    if kind == nxt_conf_type_t_NXT_CONF_BOOLEAN {
        // SAFETY: it is a boolean. unitd only reads it, though its declaration does not say so.
        let set = unsafe { nxt_conf_get_boolean(value.cast_mut()) };
        return Ok(Value::Bool(set != 0));
    }
    if kind == nxt_conf_type_t_NXT_CONF_ARRAY {
        // SAFETY: it is an array.
        return Ok(Value::Array(unsafe { elements(value, depth) }?));
    }
    if kind == nxt_conf_type_t_NXT_CONF_OBJECT {
        // SAFETY: it is an object.
        return unsafe { members(value, depth) };
    }
    let number = [
        nxt_conf_type_t_NXT_CONF_INTEGER,
        nxt_conf_type_t_NXT_CONF_NUMBER,
    ];
    Ok(if number.contains(&kind) {
        Value::from(0)
    } else {
        Value::Null
    })
}

/// # Safety
///
/// `array` must be an array.
unsafe fn elements(array: *const nxt_conf_value_t, depth: usize) -> Result<Vec<Value>, String> {
    let Some(depth) = depth.checked_sub(1) else {
        return Ok(Vec::new());
    };
    // SAFETY: by the caller's promise.
    let count = unsafe { nxt_conf_array_elements_count(array) };
    (0..count)
        // SAFETY: the array has this element.
        .map(|index| unsafe { value(nxt_conf_get_array_element(array, index), depth) })
        .collect()
}

/// # Safety
///
/// `object` must be an object.
unsafe fn members(object: *const nxt_conf_value_t, depth: usize) -> Result<Value, String> {
    let mut copies = Vec::new();
    if let Some(depth) = depth.checked_sub(1) {
        let (mut name, mut next) = (EMPTY, 0);
        loop {
            // SAFETY: by the caller's promise; `next` counts unitd's steps through the object.
            let found =
                unsafe { nxt_conf_next_object_member(object, &raw mut name, &raw mut next) };
            if found.is_null() {
                break;
            }
            // SAFETY: unitd has set `name`, and `found` is the member's value.
            copies.push(unsafe { (text(&name)?, value(found, depth)?) });
        }
    }
    let members = copies
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()));
    Ok(members.collect())
}

const EMPTY: nxt_str_t = nxt_str_t {
    length: 0,
    start: std::ptr::null_mut(),
};
