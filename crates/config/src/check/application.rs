//! `applications`: components, their environment, access and limits.

use std::path::PathBuf;

use super::access::{self, ACCESS, Access};
use super::authority::{self, Authority};
use super::checker::Checker;
use super::error::ConfigError;
use super::instances::{self, INSTANCES, Instances};
use super::isolation::{self, ISOLATION};
use super::limits::{self, LIMITS, Limits};
use super::location::Base;
use super::processes::{self, PROCESSES};
use super::table::{Choice, Form, Kinds, Map, Member, Regex, Selector, Table, Text};
use crate::{Path, Value};

/// One member of `applications`.
///
/// A reconfiguration keeps an application that compares equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    /// The application's name.
    pub name: String,
    /// The type. It only decides which member names the component.
    pub r#type: ApplicationType,
    /// The absolute path of the component, with `working_directory` and `isolation.rootfs` applied, as in the paths of
    /// folders and output.
    pub component: PathBuf,
    /// The whole environment of the component, in the order of the text. No
    /// name is empty or has a `=`, and nothing has a NUL.
    pub environment: Vec<(String, String)>,
    /// The authority of requests for guests; `None` for the default of their version of WASI.
    pub authority: Option<Authority>,
    /// Folders and outgoing requests.
    pub access: Access,
    /// The requests that an instance serves.
    pub instances: Instances,
    /// The limits of its requests.
    pub limits: Limits,
    /// Whether the component is loaded again when its file changes.
    pub reload: bool,
    /// The file that the component's standard output is appended to. The path is absolute.
    pub stdout: Option<PathBuf>,
    /// The same for its standard error.
    pub stderr: Option<PathBuf>,
}

impl Application {
    /// An application without environment, access and limits, outside of a configuration.
    #[must_use]
    pub fn new(name: impl Into<String>, component: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            r#type: ApplicationType::WasmWasiComponent,
            component: component.into(),
            environment: Vec::new(),
            authority: None,
            access: Access::default(),
            instances: Instances::default(),
            limits: Limits::default(),
            reload: false,
            stdout: None,
            stderr: None,
        }
    }

    /// The path of this application in the configuration.
    #[must_use]
    pub fn path(&self) -> Path {
        ["applications", &self.name].into_iter().collect()
    }

    /// The path of `module` or `component` in the configuration.
    #[must_use]
    pub fn component_path(&self) -> Path {
        self.path().join(self.r#type.component_member())
    }

    /// The path of an element of `access.filesystem` in the configuration.
    #[must_use]
    pub fn folder_path(&self, index: usize) -> Path {
        let path = self.path().join("access").join("filesystem");
        path.join(&index.to_string())
    }
}

/// The types of application that are served here. Both are components.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApplicationType {
    /// `wasm`: the component is called `module`, and the allocation functions
    /// and hooks of Unit's type of this name are accepted and ignored.
    Wasm,
    /// `wasm-wasi-component`: the component is called `component`.
    WasmWasiComponent,
}

impl ApplicationType {
    /// The versions of a type that are accepted: that of Unit's modules, and ours.
    const VERSIONS: [&str; 2] = ["0.1", env!("CARGO_PKG_VERSION")];

    /// Parses a name, optionally with a version or the first parts of one: `wasm 0.1`.
    fn parse(text: &str) -> Option<Self> {
        let end = text.find(|c: char| c == ' ' || c.is_ascii_digit());
        let (name, version) = text.split_at(end.unwrap_or(text.len()));
        let version = version.strip_prefix(' ').unwrap_or(version);
        if !Self::VERSIONS.iter().any(|it| is_version(it, version)) {
            return None;
        }
        match name {
            "wasm" => Some(Self::Wasm),
            "wasm-wasi-component" => Some(Self::WasmWasiComponent),
            _ => None,
        }
    }

    fn component_member(self) -> &'static str {
        match self {
            Self::Wasm => "module",
            Self::WasmWasiComponent => "component",
        }
    }

    fn table(self) -> &'static Table {
        match self {
            Self::Wasm => &WASM,
            Self::WasmWasiComponent => &WASM_WASI_COMPONENT,
        }
    }

    /// A regular expression for the texts that [`parse`](Self::parse) accepts for the type of this name.
    fn pattern(name: &str) -> String {
        let mut versions: Vec<_> = Self::VERSIONS
            .iter()
            .flat_map(|version| (0..=version.len()).filter_map(|end| version.get(..end)))
            .filter(|wanted| Self::VERSIONS.iter().any(|it| is_version(it, wanted)))
            .map(|wanted| wanted.replace('.', r"\.").replace('+', r"\+"))
            .collect();
        versions.sort_unstable();
        versions.dedup();
        format!("^{name} ?(?:{})$", versions.join("|"))
    }
}

/// Whether `wanted` is empty or the first parts of a version, as Unit compares them.
fn is_version(version: &str, wanted: &str) -> bool {
    let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    version.strip_prefix(wanted).is_some_and(|rest| {
        wanted.is_empty()
            || rest.is_empty()
            || is_digit(wanted.chars().last()) != is_digit(rest.chars().next())
    })
}

pub(super) static APPLICATION: Choice = Choice {
    name: "application",
    description: "A component, its limits, and what it may use.",
    selector: Selector::Value("type"),
    cases: &[
        ("wasm", &WASM),
        ("wasm-wasi-component", &WASM_WASI_COMPONENT),
    ],
};

static WASM: Table = Table::new(
    "wasm",
    "A component whose file is the module.",
    &[
        &[
            Member::required_by_owner(
                "type",
                &[Form::String(Text::matching(Regex::Computed(|| {
                    ApplicationType::pattern("wasm")
                })))],
                TYPE,
            ),
            Member::required("module", Form::FILLED, COMPONENT),
        ],
        HANDLERS,
        COMMON,
    ],
);

static WASM_WASI_COMPONENT: Table = Table::new(
    "wasm-wasi-component",
    "A component whose file is the component.",
    &[
        &[
            Member::required_by_owner(
                "type",
                &[Form::String(Text::matching(Regex::Computed(|| {
                    ApplicationType::pattern("wasm-wasi-component")
                })))],
                TYPE,
            ),
            Member::required("component", Form::FILLED, COMPONENT),
        ],
        COMMON,
    ],
);

const TYPE: &str = "Which member names the component, module for wasm or component for wasm-wasi-component; a version \
                    may follow, such as wasm 0.1.";

const COMPONENT: &str =
    "The component's file, an absolute path or one relative to working_directory.";

/// Required by Unit's own type.
const HANDLERS: &[Member] = &[
    Member::optional("request_handler", Form::STRING, HANDLER),
    Member::optional("malloc_handler", Form::STRING, HANDLER),
    Member::optional("free_handler", Form::STRING, HANDLER),
    Member::optional("module_init_handler", Form::STRING, HANDLER),
    Member::optional("module_end_handler", Form::STRING, HANDLER),
    Member::optional("request_init_handler", Form::STRING, HANDLER),
    Member::optional("request_end_handler", Form::STRING, HANDLER),
    Member::optional("response_end_handler", Form::STRING, HANDLER),
];

const HANDLER: &str = "Accepted and ignored, since a component has no such function.";

static COMMON: &[Member] = &[
    Member::optional(
        "access",
        &[Form::Object(&ACCESS)],
        "What guests may use beyond their requests; nothing by default.",
    ),
    Member::optional(
        "limits",
        &[Form::Object(&LIMITS)],
        "The limits of one request, and of the application.",
    ),
    Member::optional(
        "instances",
        &[Form::Object(&INSTANCES)],
        "How many requests an instance serves; one by default.",
    ),
    Member::optional(
        "authority",
        &[Form::String(Text::one_of(&Authority::NAMES))],
        "What guests see as a request's authority, the host in lower case without its port, or the host as sent; \
         server-name by default in WASI 0.2, and host in WASI 0.3.",
    ),
    Member::optional(
        "reload",
        Form::BOOLEAN,
        "Whether the component is loaded again when its file changes; false by default.",
    ),
    Member::optional(
        "processes",
        &[Form::Integer(processes::NUMBER), Form::Object(&PROCESSES)],
        "Without effect, since one process serves all applications.",
    ),
    Member::optional(
        "user",
        Form::FILLED,
        "Without effect, since one process serves all applications under its own user.",
    ),
    Member::optional(
        "group",
        Form::FILLED,
        "Without effect, since one process serves all applications under its own group.",
    ),
    Member::optional(
        "working_directory",
        Form::FILLED,
        "The folder at which a relative module, component, stdout or stderr starts; without effect if none is relative.",
    ),
    Member::optional(
        "environment",
        &[Form::Map(
            Map::of(&[Form::String(Text::WITHOUT_NUL)])
                .with_names(Text::matching(Regex::Literal("^[^=\\u0000]+$"))),
        )],
        "The component's whole environment, in this order; empty by default.",
    ),
    Member::optional(
        "isolation",
        &[Form::Object(&ISOLATION)],
        "Without effect, except that the application's paths are below rootfs; each request is isolated in an instance.",
    ),
    Member::optional(
        "stdout",
        Form::FILLED,
        "The file to which the guests' standard output is appended, an absolute path or one relative to \
         working_directory; the server's log by default.",
    ),
    Member::optional(
        "stderr",
        Form::FILLED,
        "The file to which the guests' standard error is appended, an absolute path or one relative to \
         working_directory; the server's log by default.",
    ),
];

pub(super) fn check<'a>(
    checker: &mut Checker<'a>,
    name: &str,
    value: &'a Value,
) -> Result<Application, ConfigError> {
    checker.kind(Some(name), value, Kinds::OBJECT)?;
    let r#type = checker.at("type", |checker| check_type(checker, value))?;
    let mut application = Application {
        r#type,
        ..Application::new(name, "")
    };
    let mut base = Base::default();
    let mut paths = Vec::new();
    checker.members(value, r#type.table(), |checker, name, value| {
        match name {
            "module" | "component" | "stdout" | "stderr" => {
                paths.push((name, checker.filled(name, value)?));
            }
            "access" => application.access = access::check(checker, value)?,
            "authority" => application.authority = Some(authority::check(checker, value)?),
            "instances" => application.instances = instances::check(checker, value)?,
            "reload" => application.reload = *value == Value::Bool(true),
            "limits" => application.limits = limits::check(checker, value)?,
            "environment" => application.environment = check_environment(checker, value)?,
            "processes" => processes::check(checker, value)?,
            "isolation" => base.root = isolation::check(checker, value)?,
            "user" | "group" => {
                checker.filled(name, value)?;
                checker.warn(
                    "one process serves all applications under its own user and group, so this \
                     has no effect",
                );
            }
            "working_directory" => base.directory = Some(checker.filled(name, value)?),
            // `type` is checked above; the handlers are accepted and ignored.
            _ => {}
        }
        Ok(())
    })?;
    locate(checker, &mut application, &base, &paths)?;
    Ok(application)
}

fn check_type(checker: &Checker<'_>, application: &Value) -> Result<ApplicationType, ConfigError> {
    let Some(value) = application.child("type") else {
        return Err(checker.error("Application must have the \"type\" property set."));
    };
    checker.kind(Some("type"), value, Kinds::STRING)?;
    let name = value.as_str().unwrap_or_default();
    ApplicationType::parse(name).ok_or_else(|| {
        checker.error(format!(
            "The module to run \"{name}\" is not found among the available application modules."
        ))
    })
}

/// Makes the application's paths absolute, after `working_directory` and `rootfs` have been read.
fn locate(
    checker: &mut Checker<'_>,
    application: &mut Application,
    base: &Base<'_>,
    paths: &[(&str, &str)],
) -> Result<(), ConfigError> {
    for &(name, text) in paths {
        let path = checker.at(name, |checker| base.path(checker, name, text))?;
        match name {
            "stdout" => application.stdout = Some(path),
            "stderr" => application.stderr = Some(path),
            _ => application.component = path,
        }
    }
    base.folders(&mut application.access.filesystem);
    if base.directory.is_some() && paths.iter().all(|(_, text)| text.starts_with('/')) {
        checker.at("working_directory", |checker| {
            checker.warn("components have no working directory, so this has no effect");
            Ok(())
        })?;
    }
    Ok(())
}

fn check_environment<'a>(
    checker: &mut Checker<'a>,
    value: &'a Value,
) -> Result<Vec<(String, String)>, ConfigError> {
    let mut environment = Vec::new();
    checker.each(value, |checker, name, value| {
        let wrong = if name.is_empty() {
            "be empty"
        } else if name.contains('\0') {
            "contain null character"
        } else if name.contains('=') {
            "contain '=' character"
        } else {
            ""
        };
        if !wrong.is_empty() {
            return Err(checker.error(format!("The environment name must not {wrong}.")));
        }
        let value = value.as_str().ok_or_else(|| {
            checker.error(format!(
                "The \"{name}\" environment value must be a string."
            ))
        })?;
        if value.contains('\0') {
            return Err(checker.error(format!(
                "The \"{name}\" environment value must not contain null character."
            )));
        }
        if name.starts_with("NXT_WASMTIME_") {
            checker.warn(
                "is an option of the module for NGINX Unit; here it is a variable like any other",
            );
        }
        environment.push((name.to_owned(), value.to_owned()));
        Ok(())
    })?;
    Ok(environment)
}
