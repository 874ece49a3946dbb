//! What is sent of a source file: its lines without indentation, and without the lines that are comments.
//!
//! Lines of scripts stay where they are, so that the line numbers of an error are those of the source.

/// The content of the site's file `name` as browsers get it.
pub(crate) fn sent(name: &str, content: &str) -> String {
    match name.rsplit('.').next() {
        Some("js") => without_comments(content),
        Some("css") => on_one_line(&without_comments(content)),
        _ => content.to_owned(),
    }
}

/// A style sheet as the formatter lays it out: a declaration or a selector a line.
fn on_one_line(content: &str) -> String {
    let mut line = String::with_capacity(content.len());
    for part in content.lines().filter(|part| !part.is_empty()) {
        if !line.is_empty() && !line.ends_with(['{', '}', ';', ',']) {
            line.push(' ');
        }
        line.push_str(part);
    }
    line.replace(": ", ":").replace(" {", "{").replace(";}", "}")
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
    fn a_style_sheet_is_one_line() {
        let source =
            "/* head */\na,\nb :focus {\n  color: red;\n  margin:\n    0 1px,\n    2px;\n}\n\nc {\n  top: 0;\n}\n";

        assert_eq!(sent("a.css", source), "a,b :focus{color:red;margin:0 1px,2px}c{top:0}");
    }

    #[test]
    fn markup_is_sent_as_it_is() {
        assert_eq!(sent("index.html", "  <p>\n"), "  <p>\n");
    }
}
