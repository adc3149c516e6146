//! The modules of a crate, read with `syn`: what each defines, imports and names. Knows no rule.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use proc_macro2::{TokenStream, TokenTree};
use syn::visit::Visit;
use syn::{Attribute, Item, UseTree};

/// The modules of one crate, without those for tests; the first is the root.
pub(super) struct Crate {
    pub(super) modules: Vec<Module>,
}

/// The index of a module in its crate.
pub(super) type ModuleId = usize;

/// One module: a file, or a `mod name { … }` within one.
pub(super) struct Module {
    pub(super) file: PathBuf,
    pub(super) parent: Option<ModuleId>,
    /// The module that the file belongs to: itself, or for an inline module an ancestor.
    pub(super) file_module: ModuleId,
    pub(super) children: HashMap<String, ModuleId>,
    /// The items that stand here, by name.
    pub(super) items: HashMap<String, usize>,
    /// Types among them, with their lines: a name may stand here more than once under `cfg`.
    pub(super) types: Vec<(String, usize)>,
    pub(super) imports: Vec<Import>,
    /// The paths that its code names, with their lines.
    pub(super) paths: Vec<(Vec<String>, usize)>,
}

/// One name that a `use` brings into a module.
pub(super) struct Import {
    /// `*` for all.
    pub(super) name: String,
    pub(super) path: Vec<String>,
    pub(super) line: usize,
    /// Hands the name on, and needs it itself only where its code names it.
    pub(super) is_reexport: bool,
}

impl Crate {
    /// Reads a crate from its root file on. Its modules have the paths of their files within `top`.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or parsed, or a module has no file.
    pub(super) fn read(top: &Path, root: &Path) -> Result<Self> {
        let mut this = Self {
            modules: Vec::new(),
        };
        let folder = root.parent().unwrap_or(Path::new("."));
        this.read_file(root, None, folder)?;
        for module in &mut this.modules {
            if let Ok(within) = module.file.strip_prefix(top) {
                module.file = within.to_owned();
            }
        }
        Ok(this)
    }

    /// Reads a file as a module, whose children have their files in `folder`.
    fn read_file(
        &mut self,
        file: &Path,
        parent: Option<ModuleId>,
        folder: &Path,
    ) -> Result<ModuleId> {
        let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let parsed =
            syn::parse_file(&text).with_context(|| format!("{} is not Rust", file.display()))?;
        let id = self.add(file, parent, None);
        self.read_items(id, parsed.items, folder)?;
        Ok(id)
    }

    fn add(
        &mut self,
        file: &Path,
        parent: Option<ModuleId>,
        file_module: Option<ModuleId>,
    ) -> ModuleId {
        let id = self.modules.len();
        self.modules.push(Module {
            file: file.to_owned(),
            parent,
            file_module: file_module.unwrap_or(id),
            children: HashMap::new(),
            items: HashMap::new(),
            types: Vec::new(),
            imports: Vec::new(),
            paths: Vec::new(),
        });
        id
    }

    fn read_items(&mut self, id: ModuleId, items: Vec<Item>, folder: &Path) -> Result<()> {
        for item in items {
            if is_for_tests(attributes(&item)) {
                continue;
            }
            match item {
                Item::Mod(module) => self.read_module(id, module, folder)?,
                Item::Use(item) => {
                    let is_reexport = !matches!(item.vis, syn::Visibility::Inherited);
                    let imports = &mut self.modules[id].imports;
                    read_use(&item.tree, &mut Vec::new(), is_reexport, imports);
                }
                item => self.read_item(id, &item),
            }
        }
        Ok(())
    }

    fn read_module(&mut self, id: ModuleId, module: syn::ItemMod, folder: &Path) -> Result<()> {
        let name = module.ident.to_string();
        let below = folder.join(&name);
        let file = self.modules[id].file.clone();
        let child = if let Some((_, items)) = module.content {
            let file_module = self.modules[id].file_module;
            let child = self.add(&file, Some(id), Some(file_module));
            self.read_items(child, items, &below)?;
            child
        } else {
            let files = [folder.join(format!("{name}.rs")), below.join("mod.rs")];
            let Some(file) = files.iter().find(|file| file.exists()) else {
                bail!("{}: `mod {name}` has no file", file.display());
            };
            self.read_file(file, Some(id), &below)?
        };
        self.modules[id].children.insert(name, child);
        Ok(())
    }

    fn read_item(&mut self, id: ModuleId, item: &Item) {
        let module = &mut self.modules[id];
        let mut add = |ident: &syn::Ident, is_type: bool| {
            let line = ident.span().start().line;
            module.items.insert(ident.to_string(), line);
            if is_type {
                module.types.push((ident.to_string(), line));
            }
        };
        match item {
            Item::Struct(item) => add(&item.ident, true),
            Item::Enum(item) => add(&item.ident, true),
            Item::Union(item) => add(&item.ident, true),
            Item::Trait(item) => add(&item.ident, true),
            Item::Type(item) => add(&item.ident, true),
            Item::Fn(item) => add(&item.sig.ident, false),
            Item::Const(item) => add(&item.ident, false),
            Item::Static(item) => add(&item.ident, false),
            Item::Macro(item) => {
                if let Some(ident) = &item.ident {
                    add(ident, false);
                }
            }
            _ => {}
        }
        let mut names = Names::default();
        names.visit_item(item);
        module.paths.extend(names.paths);
        // A `use` within a function.
        module.imports.extend(names.imports);
    }

    /// Where what a path names in a module is defined, with its name there: `None` where that is
    /// another crate, a local variable, or a module as such.
    pub(super) fn resolve(&self, module: ModuleId, path: &[String]) -> Option<(ModuleId, String)> {
        self.resolve_within(module, path, true, 0)
    }

    /// `is_first` as long as nothing but `crate`, `self` and `super` came before.
    fn resolve_within(
        &self,
        module: ModuleId,
        path: &[String],
        is_first: bool,
        depth: usize,
    ) -> Option<(ModuleId, String)> {
        // Imports can lead in circles.
        if depth > 16 {
            return None;
        }
        let (segment, rest) = path.split_first()?;
        let here = &self.modules[module];
        let go = |module| self.resolve_within(module, rest, false, depth + 1);
        match segment.as_str() {
            "crate" if is_first => return go(0),
            "self" if is_first => return go(module),
            "super" => return go(here.parent?),
            _ => {}
        }
        if let Some(child) = here.children.get(segment) {
            return go(*child);
        }
        if here.items.contains_key(segment) {
            return Some((module, segment.clone()));
        }
        let named = here.imports.iter().filter(|it| it.name == *segment);
        let globs = here.imports.iter().filter(|it| it.name == "*");
        named.chain(globs).find_map(|import| {
            let mut whole = import.path.clone();
            if import.name == "*" {
                whole.push(segment.clone());
            }
            whole.extend_from_slice(rest);
            // An import that names itself (`use self::x::x`) has a longer path each time.
            (whole != path).then(|| self.resolve_within(module, &whole, true, depth + 1))?
        })
    }
}

/// What one item names.
#[derive(Default)]
struct Names {
    paths: Vec<(Vec<String>, usize)>,
    imports: Vec<Import>,
}

impl<'ast> Visit<'ast> for Names {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            let names = path.segments.iter().map(|it| it.ident.to_string());
            let line = path.segments.first().map(|it| it.ident.span().start().line);
            self.paths.push((names.collect(), line.unwrap_or_default()));
        }
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, invocation: &'ast syn::Macro) {
        self.visit_path(&invocation.path);
        paths_of_tokens(invocation.tokens.clone(), &mut self.paths);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        read_use(&item.tree, &mut Vec::new(), false, &mut self.imports);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_for_tests(&item.attrs) {
            syn::visit::visit_impl_item_fn(self, item);
        }
    }
}

/// The paths among the arguments of a macro, which need not be Rust.
fn paths_of_tokens(tokens: TokenStream, paths: &mut Vec<(Vec<String>, usize)>) {
    let mut path = Vec::new();
    let mut line = 0;
    let mut colons = 0;
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => {
                if colons != 2 {
                    paths.extend((!path.is_empty()).then(|| (std::mem::take(&mut path), line)));
                    path.clear();
                    line = ident.span().start().line;
                }
                path.push(ident.to_string());
                colons = 0;
                continue;
            }
            TokenTree::Punct(mark) if mark.as_char() == ':' && !path.is_empty() => {
                colons += 1;
                continue;
            }
            TokenTree::Group(group) => paths_of_tokens(group.stream(), paths),
            _ => {}
        }
        paths.extend((!path.is_empty()).then(|| (std::mem::take(&mut path), line)));
        colons = 0;
    }
    paths.extend((!path.is_empty()).then_some((path, line)));
}

fn read_use(
    tree: &UseTree,
    before: &mut Vec<String>,
    is_reexport: bool,
    imports: &mut Vec<Import>,
) {
    let mut add = |name: String, path: Vec<String>, line| {
        imports.push(Import {
            name,
            path,
            line,
            is_reexport,
        });
    };
    match tree {
        UseTree::Path(part) => {
            before.push(part.ident.to_string());
            read_use(&part.tree, before, is_reexport, imports);
            before.pop();
        }
        UseTree::Name(last) => {
            let mut path = before.clone();
            let line = last.ident.span().start().line;
            if last.ident == "self" {
                let name = before.last().cloned().unwrap_or_default();
                return add(name, path, line);
            }
            path.push(last.ident.to_string());
            add(last.ident.to_string(), path, line);
        }
        UseTree::Rename(last) => {
            let mut path = before.clone();
            if last.ident != "self" {
                path.push(last.ident.to_string());
            }
            let line = last.ident.span().start().line;
            add(last.rename.to_string(), path, line);
        }
        UseTree::Glob(star) => {
            let line = star.star_token.spans[0].start().line;
            add("*".to_owned(), before.clone(), line);
        }
        UseTree::Group(group) => {
            for tree in &group.items {
                read_use(tree, before, is_reexport, imports);
            }
        }
    }
}

/// Whether an item is there for tests (or fuzzing) only.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else {
            return attribute.path().is_ident("test");
        };
        let condition = list.tokens.to_string();
        list.path.is_ident("cfg")
            && words(&condition).any(|word| word == "test")
            && !words(&condition).any(|word| word == "not")
    })
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
