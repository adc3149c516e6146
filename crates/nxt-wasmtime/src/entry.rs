//! The module's entry, which unitd reads, with the two functions that it calls.
//!
//! unitd loads every module once to read its entry, and again in the prototype process of each
//! application of its type, where it calls `setup()`. It then forks the application's processes from
//! the prototype, and calls `start()` in each.

use std::ffi::c_char;
use std::ptr;
use std::sync::OnceLock;

use unit_sys::{
    NXT_DEBUG, NXT_ERROR, NXT_OK, NXT_VERNUM, nxt_app_module_t, nxt_common_app_conf_t, nxt_int_t,
    nxt_process_data_t, nxt_process_t, nxt_str_t, nxt_task_t,
};

use crate::configuration::Configuration;
use crate::ffi::guard;
use crate::lifecycle;
use crate::log;
use crate::prototype::Prototype;

/// The type of applications that the module registers.
#[cfg(not(feature = "wasi-component-type"))]
const TYPE: &str = "wasm";
#[cfg(feature = "wasi-component-type")]
const TYPE: &str = "wasm-wasi-component";

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");

/// The Unit that this was built for: its version, and whether its structures are those of a debug
/// build.
static COMPATIBLE_WITH: [u32; 2] = [NXT_VERNUM, NXT_DEBUG];

/// The module's entry in unitd's table.
#[repr(transparent)]
pub(crate) struct Entry(nxt_app_module_t);

// SAFETY: nothing writes to it, and what it points to is static and constant.
unsafe impl Sync for Entry {}

/// The symbol that unitd looks up.
#[unsafe(no_mangle)]
pub(crate) static nxt_app_module: Entry = Entry(nxt_app_module_t {
    compat_length: size_of_val(&COMPATIBLE_WITH),
    compat: (&raw const COMPATIBLE_WITH).cast_mut().cast(),
    type_: nxt_str_t {
        length: TYPE.len(),
        start: TYPE.as_ptr().cast_mut(),
    },
    version: VERSION.as_ptr().cast::<c_char>(),
    mounts: ptr::null(),
    nmounts: 0,
    setup: Some(setup),
    start: Some(start),
});

/// What `setup()` has prepared for the forked processes.
static PROTOTYPE: OnceLock<Prototype> = OnceLock::new();

const OK: nxt_int_t = NXT_OK as nxt_int_t;
const ERROR: nxt_int_t = NXT_ERROR as nxt_int_t;

/// Called in the prototype process. Fallback: an error, and the application does not start.
unsafe extern "C" fn setup(
    task: *mut nxt_task_t,
    process: *mut nxt_process_t,
    conf: *mut nxt_common_app_conf_t,
) -> nxt_int_t {
    guard("setup", ERROR, || {
        log::start();
        // SAFETY: unitd's own pointers.
        let configuration = unsafe { Configuration::read(process, conf) };
        match configuration.and_then(Prototype::new) {
            // unitd calls this once in a process. If it ever did so twice, the first would stay.
            Ok(prototype) => {
                let _ = PROTOTYPE.set(prototype);
                OK
            }
            Err(message) => {
                // SAFETY: unitd's own pointer.
                unsafe { log::alert(task, &message) };
                ERROR
            }
        }
    })
}

/// Called in an application process, which runs until this returns. Fallback: an error, and the process
/// ends.
unsafe extern "C" fn start(task: *mut nxt_task_t, data: *mut nxt_process_data_t) -> nxt_int_t {
    guard("start", ERROR, || {
        let outcome = match PROTOTYPE.get() {
            // SAFETY: unitd's own pointers; it calls this once in a process.
            Some(prototype) => unsafe { lifecycle::run(prototype, task, (*data).app) },
            None => Err("setup() has not succeeded in the prototype process".to_owned()),
        };
        match outcome {
            Ok(()) => std::process::exit(0),
            Err(message) => {
                // SAFETY: unitd's own pointer.
                unsafe { log::alert(task, &message) };
                ERROR
            }
        }
    })
}
