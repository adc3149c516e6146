//! A control API on a real Unix socket over a runtime that only takes notes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

use control::{
    ApplicationInstances, ApplicationStatus, BlockingThreads, Connections, Control, Health,
    HeldForClients, Instances, Limits, Listen, Module, Origin, PrepareError, Process, Processes,
    RestartError, Runtime, StateDir, Status,
};
use sockets::{Listener, Stream};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Longer than anything here takes.
pub(crate) const LONG: Duration = Duration::from_secs(20);

pub(crate) const WALKTHROUGH: &str = r#"{
      "listeners": {
          "127.0.0.1:8080": {
              "pass": "applications/wasm"
          }
      },

      "applications": {
          "wasm": {
              "type": "wasm",
              "module": "/path/to/example.component.wasm",
              "request_handler": "<unused>",
              "malloc_handler": "<unused>",
              "free_handler": "<unused>",
          }
      }
  }"#;

#[derive(Clone, Default)]
pub(crate) struct Notes {
    calls: Arc<Mutex<Vec<String>>>,
    /// The answer to the next `prepare`s and `restart`s, until it is taken away.
    refusal: Arc<Mutex<Option<PrepareError>>>,
    /// While there is one, a `prepare` takes a permit of it for good.
    gate: Arc<Mutex<Option<Arc<Semaphore>>>>,
    /// Where `status` was last called.
    asked_on: Arc<Mutex<Option<ThreadId>>>,
    pub(crate) health: Health,
}

/// Notes that it was dropped without a commit.
pub(crate) struct Prepared {
    name: String,
    notes: Option<Notes>,
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if let Some(notes) = self.notes.take() {
            notes.note(format!("undo {}", self.name));
        }
    }
}

impl Notes {
    fn note(&self, call: String) {
        self.calls.lock().unwrap().push(call);
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }

    pub(crate) fn refuse(&self, refusal: Option<PrepareError>) {
        *self.refusal.lock().unwrap() = refusal;
    }

    /// From now on, a `prepare` waits for a permit.
    pub(crate) fn close_gate(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        *self.gate.lock().unwrap() = Some(Arc::clone(&gate));
        gate
    }

    /// The thread that `status` was last called on.
    pub(crate) fn asked_on(&self) -> Option<ThreadId> {
        *self.asked_on.lock().unwrap()
    }

    /// Waits until the calls end with these.
    pub(crate) async fn until(&self, expected: &[&str]) {
        let waited = timeout(LONG, async {
            while !self
                .calls()
                .ends_with(&expected.iter().map(ToString::to_string).collect::<Vec<_>>())
            {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        assert!(
            waited.await.is_ok(),
            "wanted {expected:?}, got {:?}",
            self.calls()
        );
    }
}

impl Runtime for Notes {
    type Prepared = Prepared;

    async fn prepare(&self, config: &config::Config) -> Result<Prepared, PrepareError> {
        let names: Vec<_> = config
            .applications
            .iter()
            .map(|one| one.name.as_str())
            .collect();
        let name = names.join("+");
        self.note(format!("prepare {name}"));
        let gate = self.gate.lock().unwrap().clone();
        if let Some(gate) = gate {
            gate.acquire().await.unwrap().forget();
        }
        match self.refusal.lock().unwrap().clone() {
            Some(refusal) => Err(refusal),
            None => Ok(Prepared {
                name,
                notes: Some(self.clone()),
            }),
        }
    }

    fn warnings(&self, _: &Prepared) -> Vec<config::Warning> {
        Vec::new()
    }

    fn commit(&self, mut prepared: Prepared) {
        prepared.notes = None;
        self.note(format!("commit {}", prepared.name));
    }

    fn status(&self) -> Status {
        *self.asked_on.lock().unwrap() = Some(thread::current().id());
        let processes = Processes {
            running: 1,
            starting: 0,
            idle: 1,
        };
        Status {
            config_files: None,
            modules: vec![Module {
                name: "wasm".to_owned(),
                version: "48".to_owned(),
                lib: "built in".to_owned(),
            }],
            connections: Connections {
                accepted: 5,
                active: 1,
                idle: 2,
                closed: 2,
            },
            requests: 7,
            instances: Instances {
                active: 2,
                limit: 16,
                pooled: true,
                memory: 3,
                memory_limit: 1 << 30,
            },
            held_for_clients: HeldForClients {
                bytes: 11,
                limit: 12,
                ended_connections: 13,
            },
            applications: vec![
                (
                    "a/b".to_owned(),
                    ApplicationStatus {
                        processes,
                        active_requests: 1,
                        instances: instances(),
                    },
                ),
                (HOSTILE.to_owned(), ApplicationStatus::default()),
            ],
            version: "0.1.0".to_owned(),
            epoch_ticks: 9,
            process: Process {
                resident_memory: Some(4096),
                processor_time: Some(Duration::from_millis(1500)),
                started: Duration::from_secs(1_700_000_000),
            },
        }
    }

    fn health(&self) -> &Health {
        &self.health
    }

    async fn restart(&self, application: &str) -> Result<(), RestartError> {
        self.note(format!("restart {application}"));
        match self.refusal.lock().unwrap().clone() {
            Some(refusal) => Err(RestartError {
                detail: refusal.detail,
            }),
            None => Ok(()),
        }
    }
}

/// An application's name, with all that could end a label or a line.
pub(crate) const HOSTILE: &str = "\"} 1\nx{y=\"\\";

fn instances() -> ApplicationInstances {
    ApplicationInstances {
        active: 1,
        started: 8,
        memory: 3,
        peak_memory: 6,
        files: 4,
        execution_time: Duration::from_micros(2_000_500),
        responses: vec![("2xx", 5), ("5xx", 2)],
        cut_off: 1,
        failures: vec![("trap", 2), ("busy", 0)],
    }
}

/// A Unix socket whose clients count as operators, though they are of this process.
pub(crate) struct Operators(pub(crate) Listener);

impl Listen for Operators {
    async fn accept(&self) -> io::Result<Stream> {
        self.0.accept().await
    }

    fn origin(&self, _: &Stream) -> Origin {
        Origin::Operator
    }
}

pub(crate) struct Server {
    pub(crate) notes: Notes,
    pub(crate) control: Control<Notes>,
    socket: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

/// What a client got: the first line, the fields, and the body with its CRLF as
/// LF, to be read in a test.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// A server with the state in `state` below a fresh directory.
pub(crate) fn start() -> (TempDir, Server) {
    start_with(Limits::default())
}

pub(crate) fn start_with(limits: Limits) -> (TempDir, Server) {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), limits);
    (directory, server)
}

pub(crate) fn state_path(directory: &TempDir) -> PathBuf {
    directory.path().join("state")
}

impl Server {
    pub(crate) fn start(directory: &Path, limits: Limits) -> Self {
        let notes = Notes::default();
        let state = StateDir::open(directory.join("state")).unwrap();
        let threads = BlockingThreads::start().unwrap();
        let control = Control::with_limits(notes.clone(), state, threads, limits);
        let socket = directory.join("control.sock");
        let _ = std::fs::remove_file(&socket);
        let listener = Operators(Listener::Unix(UnixListener::bind(&socket).unwrap()));
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn({
            let control = control.clone();
            async move {
                control
                    .serve(listener, async {
                        let _ = stopped.await;
                    })
                    .await;
            }
        });
        Self {
            notes,
            control,
            socket,
            stop: Some(stop),
            serving,
        }
    }

    pub(crate) async fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.socket).await.unwrap()
    }

    pub(crate) async fn send(&self, method: &str, target: &str, body: impl AsRef<[u8]>) -> Answer {
        let mut stream = self.connect().await;
        let request = request(method, target, body.as_ref());
        // An early answer may close the connection before all is sent.
        let _ = stream.write_all(&request).await;
        read(stream).await
    }

    pub(crate) async fn raw(&self, request: &[u8]) -> Answer {
        let mut stream = self.connect().await;
        stream.write_all(request).await.unwrap();
        read(stream).await
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.send("GET", target, "").await
    }

    pub(crate) async fn put(&self, target: &str, body: &str) -> Answer {
        self.send("PUT", target, body).await
    }

    /// Lets go of the state directory, so that another server can have it.
    pub(crate) async fn stop(mut self) {
        self.begin_stop();
        self.stopped().await;
    }

    pub(crate) fn begin_stop(&mut self) {
        drop(self.stop.take());
    }

    pub(crate) async fn stopped(self) {
        timeout(LONG, self.serving).await.unwrap().unwrap();
    }
}

pub(crate) fn request(method: &str, target: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// Reads an answer to the end of the connection.
pub(crate) async fn read(mut stream: UnixStream) -> Answer {
    let mut bytes = Vec::new();
    match timeout(LONG, stream.read_to_end(&mut bytes)).await.unwrap() {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error}"),
    }
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    Answer {
        status,
        head: head.to_lowercase(),
        body: body.replace("\r\n", "\n"),
    }
}

impl Answer {
    #[track_caller]
    pub(crate) fn is(&self, status: u16, body: &str) {
        assert_eq!((self.status, self.body.as_str()), (status, body));
    }

    #[track_caller]
    pub(crate) fn done(&self) {
        self.is(200, "{\n\t\"success\": \"Reconfiguration done.\"\n}\n");
    }
}
