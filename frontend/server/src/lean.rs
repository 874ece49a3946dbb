//! What is sent of a source file: its lines without indentation, and without the lines that are comments.
//!
//! Lines stay where they are, so that the line numbers of an error are those of the source.

/// The content of the site's file `name` as browsers get it.
pub(crate) fn sent(name: &str, content: &str) -> String {
    if name.rsplit('.').next().is_some_and(|extension| ["js", "css"].contains(&extension)) {
        return without_comments(content);
    }
    content.to_owned()
}

/// Only whole lines are taken for comments, so a `//` within a string or a pattern is safe.
fn without_comments(content: &str) -> String {
    let mut inside = false;
    let mut kept = String::with_capacity(content.len());
    for line in content.lines().map(str::trim) {
        let starts = !inside && line.starts_with("/*");
        let comment = inside || starts || line.starts_with("//");
        inside = (inside || starts) && !line.ends_with("*/");
        kept.push_str(if comment { "" } else { line });
        kept.push('\n');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_leave_empty_lines_behind() {
        let source = "// head\n/**\n * doc\n */\nexport const a = \"//x\"; // why\n/** one */\n  b();\n";

        assert_eq!(sent("a.js", source), "\n\n\n\nexport const a = \"//x\"; // why\n\nb();\n");
    }

    #[test]
    fn markup_is_sent_as_it_is() {
        assert_eq!(sent("index.html", "  <p>\n"), "  <p>\n");
    }
}
