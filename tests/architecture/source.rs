//! Reading Rust and Markdown by simple means: paths that begin with `crate::`, names of crates, quoted file names.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// All files of that ending in a folder and below; none if there is no such folder.
pub(crate) fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let mut found: Vec<_> =
        files.into_iter().filter(|file| file.extension().is_some_and(|found| found == ending)).collect();
    found.extend(folders.iter().flat_map(|folder| self::files(folder, ending)));
    found.sort();
    found
}

/// The code without comments, and without the tests at its end.
pub(crate) fn without_tests(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .fold(String::new(), |code, line| code + line + "\n")
}

/// The names of metrics that the code quotes.
pub(crate) fn metrics(code: &str) -> BTreeSet<String> {
    code.split('"').filter(|text| is_metric(text)).map(str::to_owned).collect()
}

/// The metrics in the first cell of a row of a table, without their labels.
pub(crate) fn metrics_of_row(line: &str) -> BTreeSet<String> {
    let cell = line.strip_prefix("| ").and_then(|row| row.split(" |").next()).unwrap_or_default();
    let names = cell.split('`').map(|text| text.split('{').next().unwrap_or_default());
    names.filter(|name| is_metric(name)).map(str::to_owned).collect()
}

fn is_metric(text: &str) -> bool {
    text.strip_prefix("eventplatform_")
        .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
}

/// The modules of the crate that the code names: `a` and `b` for `crate::a::X` and `crate::{a::X, b}`.
pub(crate) fn references(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        // `$crate::` in a macro counts as well; a name that ends in `crate` does not.
        if code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => found.extend(first_names(list)),
            None => found.extend(first_name(rest)),
        }
    }
    found
}

/// The first names of the paths in a list that ends with its brace.
fn first_names(list: &str) -> Vec<String> {
    let (mut depth, mut begins, mut found) = (0, true, Vec::new());
    for (at, character) in list.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            _ if begins && !character.is_whitespace() => {
                found.extend(first_name(&list[at..]));
                begins = false;
            }
            _ => {}
        }
    }
    found
}

fn first_name(path: &str) -> Option<String> {
    let end = path.find(|character: char| !character.is_alphanumeric() && character != '_').unwrap_or(path.len());
    (end > 0).then(|| path[..end].to_owned())
}

/// Whether the code names something of that crate, as in `sqlx::query` or `use axum::{…}`.
pub(crate) fn names_crate(code: &str, name: &str) -> bool {
    let path = format!("{name}::");
    code.match_indices(&path)
        .any(|(at, _)| !code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == ':'))
}

/// What a document quotes as `a/path` of this checkout.
pub(crate) fn quoted_paths(text: &str) -> impl Iterator<Item = &str> {
    const ROOTS: [&str; 11] = [
        ".ci/",
        ".github/",
        "bench/",
        "charts/",
        "crates/",
        "crds/",
        "docs/",
        "frontend/",
        "operator/",
        "services/",
        "tests/",
    ];
    text.split('`').skip(1).step_by(2).filter(|quoted| {
        ROOTS.iter().any(|root| quoted.starts_with(root))
            && !quoted.contains(|character: char| " <>{}…$".contains(character))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_name_a_module_is_seen() {
        let code = "use crate::{a::{X, y::Z}, b, c as d};\nfn f() { crate::e::g(); $crate::h!() }\nuse my_crate::i;";

        let found: Vec<_> = references(code).into_iter().collect();

        assert_eq!(found, ["a", "b", "c", "e", "h"]);
        assert!(names_crate("sqlx::query!()", "sqlx") && !names_crate("crate::sqlx::x", "sqlx"));
    }
}
