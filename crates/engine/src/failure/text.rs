//! Text of guests in messages: bounded in length, on one line, escaped. Not which failures have one.

use std::fmt::{self, Write as _};

use unit_log::{BoundedText, Escaped};
use wasmtime::WasmBacktrace;

/// Bytes of a failure's text in the log.
pub(super) const MAX_TEXT: usize = 2048;

/// Bytes of a trap's message beside its backtrace.
pub(super) const MAX_TRAP: usize = 1024;

/// Text that a guest can influence, on one line: at most so many bytes (before escaping), with control
/// characters escaped.
pub(super) struct Bounded<T>(pub(super) usize, pub(super) T);

impl<T: fmt::Display> fmt::Display for Bounded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(limit, text) = self;
        let text = BoundedText::of(*limit, text);
        let lines = text.as_str().lines().map(str::trim);
        for (n, line) in lines.filter(|line| !line.is_empty()).enumerate() {
            if n > 0 {
                f.write_str("; ")?;
            }
            Escaped(&mut *f).write_str(line)?;
        }
        if text.is_cut() {
            f.write_str("… (cut)")?;
        }
        Ok(())
    }
}

/// An error that is not a trap, with its causes. The guest's frames that Wasmtime adds are left out, since
/// they hold names that must not be demangled: see [`Frames`].
pub(super) struct Chain<'a>(pub(super) &'a wasmtime::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(error) = self;
        match error.downcast_ref::<WasmBacktrace>() {
            Some(_) => write!(f, "{}", error.root_cause()),
            None => write!(f, "{error:#}"),
        }
    }
}

/// A backtrace as Wasmtime formats it, except that C++ names stay mangled.
///
/// Wasmtime demangles them with `cpp_demangle` into a string of unbounded length: a mangled name may refer to
/// parts of itself, a thousand times to a part that does the same. A trap in a component with such a name would
/// exhaust the machine's memory.
pub(super) struct Frames<'a>(pub(super) &'a WasmBacktrace);

impl fmt::Display for Frames<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("error while executing at wasm backtrace:")?;
        for (number, frame) in self.0.frames().iter().enumerate() {
            let module = frame.module().name().unwrap_or("<unknown>");
            write!(f, "\n  {number:>3}: ")?;
            if let Some(offset) = frame.module_offset() {
                write!(f, "{offset:#8x} - ")?;
            }
            write!(f, "{module}!")?;
            match frame.func_name() {
                // It is bounded in depth and in length, and stops when it cannot write.
                Some(name) => match rustc_demangle::try_demangle(name) {
                    Ok(name) => write!(f, "{name}")?,
                    Err(_) => f.write_str(name)?,
                },
                None => write!(f, "<wasm function {}>", frame.func_index())?,
            }
        }
        Ok(())
    }
}
