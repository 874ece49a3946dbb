//! The floor plan, held: which modules a service has, which of them may use which, and what `domain` may import.
//!
//! The plan itself is the block `floor-plan` of docs/architecture.md, so that the document cannot differ from it.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use eventplatform_tests::paths::workspace;

use self::source::{files, references, without_tests};

/// The programs that are laid out by the plan.
const PROGRAMS: [&str; 6] = [
    "services/user",
    "services/event",
    "services/booking",
    "services/notification",
    "services/mock-gateway",
    "frontend/server",
];
/// What I/O is done with. `domain` uses none of it.
const IO: [&str; 8] = ["axum", "bson", "hyper", "lapin", "mongodb", "reqwest", "sqlx", "tokio"];
/// The longest `main.rs`, in lines.
const MAIN_LINES: usize = 30;

/// The modules of a program and, for each, those that it may use.
type Plan = BTreeMap<String, BTreeSet<String>>;

/// The lines `module: module …` of the block in docs/architecture.md.
fn plan() -> Plan {
    let document = fs::read_to_string(workspace().join("docs/architecture.md")).unwrap();
    let block = document.split("```floor-plan\n").nth(1).expect("a block floor-plan").split("```").next().unwrap();
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    let lines = block.lines().map(|line| line.split_once(':').expect("module: modules"));
    lines.map(|(module, may_use)| (module.trim().to_owned(), words(may_use))).collect()
}

/// The modules of a crate, each with the modules of the same crate that its code names. Tests may name what they like,
/// also in files of their own.
fn modules(crate_folder: &str) -> Plan {
    let root = workspace().join(crate_folder).join("src");
    let mut modules = Plan::new();
    for file in files(&root, "rs").into_iter().filter(|file| !file.ends_with("tests.rs")) {
        let module = module_of(&root, &file);
        if module == "main" || module == "lib" {
            continue;
        }
        let mut uses = references(&without_tests(&fs::read_to_string(&file).unwrap()));
        uses.remove(&module);
        modules.entry(module).or_default().extend(uses);
    }
    let names: BTreeSet<String> = modules.keys().cloned().collect();
    // What is no module is an item of lib.rs.
    for uses in modules.values_mut() {
        uses.retain(|used| names.contains(used));
    }
    modules
}

/// The first part of a file's path below `src`, without its ending.
fn module_of(root: &Path, file: &Path) -> String {
    let first = file.strip_prefix(root).unwrap().components().next().unwrap();
    Path::new(first.as_os_str()).file_stem().unwrap().to_string_lossy().into_owned()
}

#[test]
fn every_program_has_the_modules_of_the_plan_and_uses_them_as_it_allows() {
    let plan = plan();

    let mut wrong = Vec::new();
    for program in PROGRAMS {
        for (module, uses) in modules(program) {
            let Some(allowed) = plan.get(&module) else {
                wrong.push(format!("{program}/src/{module} is not in the plan"));
                continue;
            };
            wrong.extend(uses.difference(allowed).map(|used| format!("{program}: {module} uses {used}")));
        }
    }

    assert!(wrong.is_empty(), "see the floor plan in docs/architecture.md:\n{}", wrong.join("\n"));
}

#[test]
fn the_plan_has_no_circle() {
    assert_eq!(circle(&plan()), None);
}

#[test]
fn crates_without_a_plan_have_no_circle_between_their_modules() {
    for folder in ["crates/contracts", "crates/platform", "operator"] {
        assert_eq!(circle(&modules(folder)), None, "{folder}");
    }
}

/// Modules that use each other, directly or by way of others.
fn circle(plan: &Plan) -> Option<Vec<String>> {
    let mut left = plan.clone();
    loop {
        let free: Vec<String> = left
            .iter()
            .filter(|(_, uses)| uses.iter().all(|used| !left.contains_key(used)))
            .map(|(name, _)| name.clone())
            .collect();
        if free.is_empty() {
            return (!left.is_empty()).then(|| left.into_keys().collect());
        }
        left.retain(|name, _| !free.contains(name));
    }
}

#[test]
fn every_program_has_the_same_shape() {
    for program in PROGRAMS {
        let source = workspace().join(program).join("src");
        let read = |file: &str| {
            fs::read_to_string(source.join(file)).unwrap_or_else(|_| panic!("{program} has no src/{file}"))
        };

        assert!(read("main.rs").lines().count() <= MAIN_LINES, "{program}: main.rs is longer than {MAIN_LINES} lines");
        let app = read("app.rs");
        // Only a program with loops has something to spawn.
        let spawn = source.join("loops").is_dir().then_some("fn spawn(");
        let functions = ["fn build(", "fn router(", "fn readiness(", "pub async fn run("];
        for function in functions.into_iter().chain(spawn) {
            assert!(app.contains(function), "{program}: app.rs has no `{function}`");
        }
        assert!(read("config.rs").contains("pub struct Config"), "{program}: config.rs has no Config");
        read("routes/mod.rs");
        let beyond: Vec<_> = read("lib.rs").lines().filter(|line| is_beyond_a_map(line)).map(str::to_owned).collect();
        assert!(beyond.is_empty(), "{program}: lib.rs is the map of the modules and nothing else: {beyond:?}");
    }
}

/// Whether a line of lib.rs is neither documentation nor a module, an attribute of one, or a name made public.
fn is_beyond_a_map(line: &str) -> bool {
    let line = line.trim();
    let module = line.starts_with("pub use ") || line.strip_prefix("pub ").unwrap_or(line).starts_with("mod ");
    !(line.is_empty() || line.starts_with("//") || line.starts_with('#') || module)
}

#[test]
fn a_domain_does_no_io() {
    for program in PROGRAMS {
        for file in files(&workspace().join(program).join("src/domain"), "rs") {
            let text = without_tests(&fs::read_to_string(&file).unwrap());
            let used: Vec<_> = IO.iter().filter(|name| source::names_crate(&text, name)).collect();
            assert!(used.is_empty(), "{} uses {used:?}", file.display());
        }
    }
}

#[test]
fn files_that_documents_name_exist() {
    let root = workspace();
    let mut documents = files(&root.join("docs"), "md");
    documents.extend(["README.md", "CONTRIBUTING.md", "bench/README.md"].map(|name| root.join(name)));

    let mut missing = Vec::new();
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        let named = source::quoted_paths(&text).filter(|path| !is_there(&root, path));
        missing.extend(named.map(|path| format!("{}: {path}", document.display())));
    }

    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn the_table_of_metrics_names_those_of_the_code() {
    let in_code = metrics_of_code();
    let document = fs::read_to_string(workspace().join("docs/operations.md")).unwrap();
    let in_table: BTreeSet<String> = document.lines().flat_map(source::metrics_of_row).collect();

    assert!(!in_code.is_empty(), "no metrics were found in the code");
    let missing: Vec<_> = in_code.difference(&in_table).collect();
    assert!(missing.is_empty(), "docs/operations.md has no row for {missing:?}");
    let gone: Vec<_> = in_table.difference(&in_code).collect();
    assert!(gone.is_empty(), "docs/operations.md names metrics that the code has not: {gone:?}");
}

/// The names of metrics in the sources of all programs and of the crates that they share.
fn metrics_of_code() -> BTreeSet<String> {
    PROGRAMS
        .into_iter()
        .chain(["crates/contracts", "crates/platform", "operator"])
        .flat_map(|folder| files(&workspace().join(folder).join("src"), "rs"))
        .filter(|file| !file.ends_with("tests.rs"))
        .flat_map(|file| source::metrics(&without_tests(&fs::read_to_string(file).unwrap())))
        .collect()
}

/// Whether that path leads to something, each `*` to anything in a folder.
fn is_there(root: &Path, path: &str) -> bool {
    let mut found = vec![root.to_owned()];
    for part in path.trim_end_matches('/').split('/') {
        found = match part {
            "*" => found
                .iter()
                .flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten())
                .map(|entry| entry.path())
                .collect(),
            _ => found.iter().map(|folder| folder.join(part)).filter(|path| path.exists()).collect(),
        };
    }
    !found.is_empty()
}
