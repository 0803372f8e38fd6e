//! The dependencies between the modules of a package, and a check that none of them form a circle.
//!
//! The modules below one module form a graph: an edge leads from one to another if any file of the first names an item
//! of the second. Each of these graphs must be free of cycles. A submodule may name items of the module that contains
//! it. An item that a module only re-exports belongs to the submodule that declares it.

use super::{PACKAGES, sources_of};
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

/// Names from the root of the package to a module.
type ModulePath = Vec<String>;

/// Declarations `use`: the visibility, and the tree of paths.
static USES: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?m)^\s*(pub(?:\([^)]*\))?\s+)?use\s+([^;]+);").unwrap());

/// Paths to other modules in the code.
static PATHS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\b(?:crate|super|glassbox_exporter)(?:::\w+)+").unwrap());

static COMMENTS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"//.*").unwrap());

/// The modules of a package.
pub struct Modules(BTreeMap<ModulePath, Module>);

#[derive(Default)]
struct Module {
    /// The paths that the module names.
    paths: Vec<Vec<String>>,
    /// The paths of the items that the module re-exports, by name.
    exports: BTreeMap<String, Vec<String>>,
}

impl Module {
    fn of(text: &str) -> Self {
        let text = COMMENTS.replace_all(text, "");
        let mut module = Self::default();
        for declaration in USES.captures_iter(&text) {
            for (path, name) in used(&declaration[2]) {
                if declaration.get(1).is_some() {
                    module.exports.insert(name, path.clone());
                }
                module.paths.push(path);
            }
        }
        let code = USES.replace_all(&text, "");
        module
            .paths
            .extend(PATHS.find_iter(&code).map(|path| segments(path.as_str())));
        module
    }
}

fn segments(path: &str) -> Vec<String> {
    path.split("::").map(|segment| segment.trim().to_owned()).collect()
}

/// The paths of a `use` tree, each with the name that it gets.
fn used(tree: &str) -> Vec<(Vec<String>, String)> {
    let Some((prefix, inner)) = tree.split_once('{') else {
        let (path, name) = tree.split_once(" as ").unwrap_or((tree, tree));
        let name = name.rsplit("::").next().unwrap_or_default();
        return vec![(segments(path), name.trim().to_owned())];
    };
    let inner = inner.trim_end().trim_end_matches('}');
    let mut depth = 0;
    let at_top = |letter: char| {
        depth += i32::from(letter == '{') - i32::from(letter == '}');
        letter == ',' && depth == 0
    };
    let parts = inner.split(at_top).filter(|part| !part.trim().is_empty());
    parts
        .flat_map(|part| used(&format!("{prefix}{}", part.trim())))
        .collect()
}

impl Modules {
    pub fn of_package(folder: &str) -> Self {
        let package = PACKAGES.iter().find(|package| package.folder == folder).unwrap();
        let top = super::project().join(folder).join("src");
        let files = sources_of(package).into_iter();
        let modules = files.map(|file| {
            (
                module_path(file.path.strip_prefix(&top).unwrap()),
                Module::of(&file.text),
            )
        });
        Self(modules.collect())
    }

    /// The module that declares what `path` names in the module `from`; `None` if another package declares it.
    fn target(&self, from: &[String], path: &[String]) -> Option<ModulePath> {
        let ups = path.iter().take_while(|segment| *segment == "super").count();
        let (mut module, rest) = match path.first()?.as_str() {
            // The binary is a crate of its own, which names the library.
            "crate" | "glassbox_exporter" => (Vec::new(), &path[1..]),
            "self" => (from.to_vec(), &path[1..]),
            "super" => (from[..from.len().checked_sub(ups)?].to_vec(), &path[ups..]),
            child if self.0.contains_key(&below(from, child)) => (from.to_vec(), path),
            _ => return None,
        };
        for (place, name) in rest.iter().enumerate() {
            let inner = below(&module, name);
            if self.0.contains_key(&inner) {
                module = inner;
                continue;
            }
            let exported = self.0[&module].exports.get(name).filter(|_| module != from);
            let declared = exported.and_then(|path| self.target(&module, &[path, &rest[place + 1..]].concat()));
            return Some(declared.unwrap_or(module));
        }
        Some(module)
    }

    /// The edges between the modules below `parent`, each with an example.
    fn edges(&self, parent: &[String]) -> BTreeMap<(&str, String), String> {
        let mut edges = BTreeMap::new();
        for (from, module) in &self.0 {
            let Some((own, _)) = from.strip_prefix(parent).and_then(<[_]>::split_first) else {
                continue;
            };
            for path in &module.paths {
                let target = self.target(from, path).unwrap_or_default();
                let other = target.strip_prefix(parent).and_then(<[_]>::first);
                if let Some(other) = other.filter(|other| *other != own) {
                    let example = format!("{} names {}", from.join("::"), path.join("::"));
                    edges.insert((own.as_str(), other.clone()), example);
                }
            }
        }
        edges
    }

    /// The edges between the top-level modules, each with an example.
    pub fn top_edges(&self) -> BTreeMap<(&str, String), String> {
        self.edges(&[])
    }

    /// The edges that are part of a cycle.
    fn cycles(&self) -> Vec<String> {
        let parents: BTreeSet<_> = self.0.keys().filter_map(|path| Some(path.split_last()?.1)).collect();
        let mut found = Vec::new();
        for parent in parents {
            let edges = self.edges(parent);
            let leads_back = |edge: &(&str, String)| reaches(&edges, &edge.1, edge.0);
            let cyclic = edges.iter().filter(|(edge, _)| leads_back(edge));
            found.extend(cyclic.map(|((from, to), example)| format!("{from} -> {to}: {example}")));
        }
        found
    }
}

fn below(module: &[String], name: &str) -> ModulePath {
    let mut path = module.to_vec();
    path.push(name.to_owned());
    path
}

fn module_path(file: &Path) -> ModulePath {
    let file = file.with_extension("");
    let mut path: Vec<_> = file.iter().map(|name| name.to_str().unwrap().to_owned()).collect();
    path.retain(|name| name != "lib");
    path
}

fn reaches(edges: &BTreeMap<(&str, String), String>, from: &str, to: &str) -> bool {
    let mut reached = BTreeSet::from([from]);
    loop {
        let next = edges.keys().filter(|(start, _)| reached.contains(start));
        let next: BTreeSet<_> = next
            .map(|(_, end)| end.as_str())
            .chain(reached.iter().copied())
            .collect();
        if next.len() == reached.len() {
            return reached.contains(to);
        }
        reached = next;
    }
}

#[test]
fn no_modules_depend_on_each_other_in_a_circle() {
    for package in PACKAGES {
        let cycles = Modules::of_package(package.folder).cycles();
        assert!(cycles.is_empty(), "{}: {cycles:#?}", package.folder);
    }
}

#[test]
fn a_cycle_is_found() {
    let of = |files: &[(&str, &str)]| {
        let modules = files.iter();
        let modules = modules.map(|(file, text)| (module_path(Path::new(file)), Module::of(text)));
        Modules(modules.collect()).cycles()
    };
    let top = ("lib.rs", "pub mod a;\npub mod b;\n");
    let back = ("b.rs", "use crate::a::A;\n");
    for (text, is_cycle) in [
        ("use crate::b::{B, C as D};\n", true),
        ("use super::{\n    b::B,\n};\n", true),
        ("fn a() { crate::b::b(); }\n", true),
        ("// use crate::b::B;\nuse std::fmt;\n", false),
    ] {
        assert_eq!(!of(&[top, ("a.rs", text), back]).is_empty(), is_cycle, "{text}");
    }
    // A module may name the items of the module that contains it, but not those that it re-exports from a user.
    let inner = ("a.rs", "mod c;\nmod d;\npub use c::C;\npub struct A;\n");
    let uses_parent = ("a/d.rs", "use super::A;\n");
    let uses_export = ("a/d.rs", "use super::C;\n");
    let user = ("a/c.rs", "use super::d::D;\n");
    let top = ("lib.rs", "");
    assert!(of(&[top, inner, user, uses_parent]).is_empty());
    assert_eq!(of(&[top, inner, user, uses_export]).len(), 2);
    // A cycle may lead through the submodules of several modules.
    let through = [
        ("a.rs", ""),
        ("a/c.rs", "use crate::b::d::D;\n"),
        ("b.rs", ""),
        ("b/d.rs", "use crate::e::E;\n"),
    ];
    let end = ("e.rs", "use crate::a::A;\n");
    assert_eq!(of(&[&[top, end][..], &through].concat()).len(), 3);
}
