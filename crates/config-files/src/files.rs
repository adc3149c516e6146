//! What was read: the merged tree, the certificates, and the texts for the places of errors.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::Arc;

use certificates::{Bundle, Certificates, check_name};
use config::{Object, Value};

use crate::error::place;
use crate::merge::{Duplicate, merge};
use crate::read::read;
use crate::{MAX_SIZE, ReadError};

/// A configuration that was read from files.
#[derive(Debug)]
pub struct Files {
    /// The configuration, unchecked.
    pub tree: Value,
    /// The certificates, whose names are those of their files without `.pem`.
    pub certificates: Certificates,
    /// Files of a folder that were not read, other than hidden ones.
    pub ignored: Vec<PathBuf>,
    documents: Vec<Document>,
}

/// A file of JSON.
#[derive(Debug)]
struct Document {
    path: PathBuf,
    text: Vec<u8>,
}

impl Files {
    /// The file, line and column of a value of the tree, as in `"/etc/a.json", line 3, column 14`. A missing value has
    /// the place of its nearest parent, in the last of the files that have it.
    #[must_use]
    pub fn place(&self, path: &config::Path) -> String {
        let mut nearest: Option<(usize, &Document)> = None;
        if self.documents.len() > 1 {
            for document in &self.documents {
                let Ok(tree) = config::parse(&document.text) else {
                    continue;
                };
                let depth = depth(&tree, path);
                if nearest.is_none_or(|(nearest, _)| depth >= nearest) {
                    nearest = Some((depth, document));
                }
            }
        }
        let document = nearest.map(|(_, document)| document);
        document
            .or_else(|| self.documents.first())
            .map_or_else(String::new, |document| document.place(path))
    }

    pub(crate) fn of_file(path: PathBuf) -> Result<Self, ReadError> {
        let (document, tree) = Document::read(path, &mut 0)?;
        Ok(Self {
            tree,
            certificates: Certificates::default(),
            ignored: Vec::new(),
            documents: vec![document],
        })
    }

    pub(crate) fn of_folder(
        folder: PathBuf,
        configurations: Vec<PathBuf>,
        certificates: Vec<PathBuf>,
        ignored: Vec<PathBuf>,
    ) -> Result<Self, ReadError> {
        let (mut documents, mut objects, mut size) = (Vec::new(), Vec::new(), 0);
        for path in configurations {
            let (document, tree) = Document::read(path, &mut size)?;
            let Value::Object(object) = tree else {
                return Err(ReadError::NotAnObject(document.path));
            };
            objects.push((documents.len(), object));
            documents.push(document);
        }
        if documents.is_empty() {
            return Err(ReadError::NoConfiguration(folder));
        }
        Ok(Self {
            tree: merged(&documents, objects)?,
            certificates: bundles(certificates)?,
            ignored,
            documents,
        })
    }
}

impl Document {
    /// Adds its length to `size`, that of all.
    fn read(path: PathBuf, size: &mut u64) -> Result<(Self, Value), ReadError> {
        let text = read(&path, MAX_SIZE - *size)?;
        *size += text.len() as u64;
        if *size > MAX_SIZE {
            return Err(ReadError::TooLarge(path));
        }
        match config::parse(&text) {
            Ok(tree) => Ok((Self { path, text }, tree)),
            Err(error) => Err(ReadError::Json { path, error }),
        }
    }

    fn place(&self, path: &config::Path) -> String {
        place(&self.path, config::locate(&self.text, path))
    }
}

fn merged(documents: &[Document], objects: Vec<(usize, Object)>) -> Result<Value, ReadError> {
    merge(objects).map_err(
        |Duplicate {
             member,
             first,
             second,
         }| {
            ReadError::Duplicate {
                first: documents[first].place(&member),
                second: documents[second].place(&member),
                member: member.to_string(),
            }
        },
    )
}

fn bundles(paths: Vec<PathBuf>) -> Result<Certificates, ReadError> {
    let mut size = 0;
    let bundles = paths.into_iter().map(|path| bundle(path, &mut size));
    bundles.collect()
}

/// Adds its length to `size`, that of all.
fn bundle(path: PathBuf, size: &mut u64) -> Result<(String, Arc<Bundle>), ReadError> {
    let Some(name) = path.file_stem().and_then(OsStr::to_str) else {
        return Err(ReadError::NotText(path));
    };
    if let Err(error) = check_name(name) {
        return Err(ReadError::CertificateName { path, error });
    }
    let name = name.to_owned();
    let text = read(&path, Bundle::MAX_TEXT as u64)?;
    *size += text.len() as u64;
    if *size > MAX_SIZE {
        return Err(ReadError::CertificatesTooLarge(path));
    }
    match Bundle::parse(&text) {
        Ok(bundle) => Ok((name, Arc::new(bundle))),
        Err(error) => Err(ReadError::Certificate { path, error }),
    }
}

/// How many segments of the path the tree has.
fn depth(tree: &Value, path: &config::Path) -> usize {
    let mut value = tree;
    let mut depth = 0;
    for segment in path.segments() {
        match value.child(segment) {
            Some(child) => value = child,
            None => break,
        }
        depth += 1;
    }
    depth
}
