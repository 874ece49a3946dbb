//! Minifies the style sheet and the page: removes comments, indentation and other redundant characters.

/// A style sheet on one line. It must have a declaration or selector per line, as the formatter writes it.
pub(crate) fn style_sheet(content: &str) -> String {
    let mut line = String::with_capacity(content.len());
    let mut in_comment = false;
    for part in content.lines().map(str::trim).filter(|part| !part.is_empty()) {
        let is_comment = in_comment || part.starts_with("/*");
        in_comment = is_comment && !part.ends_with("*/");
        if is_comment {
            continue;
        }
        if !line.is_empty() && !line.ends_with(['{', '}', ';', ',']) {
            line.push(' ');
        }
        line.push_str(part);
    }
    let replacements = [(": ", ":"), (" {", "{"), (";}", "}"), (", ", ","), (" > ", ">")];
    without_zeros(&replacements.into_iter().fold(line, |line, (long, short)| line.replace(long, short)))
}

/// Markup without its indentation.
pub(crate) fn markup(content: &str) -> String {
    content.lines().map(str::trim_start).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// `0.5rem` as `.5rem`.
fn without_zeros(line: &str) -> String {
    let mut kept = String::with_capacity(line.len());
    let mut rest = line.chars().peekable();
    while let Some(character) = rest.next() {
        let begins_number = !kept.ends_with(|before: char| before.is_ascii_alphanumeric() || before == '.');
        if character != '0' || !begins_number || rest.peek() != Some(&'.') {
            kept.push(character);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_style_sheet_becomes_one_line() {
        let source = "/* head */\na,\nb > c :focus {\n  color: red;\n  margin:\n    0 1px,\n    2px;\n}\n\n/* two\n   lines */\nd {\n  top: 0;\n}\n";

        assert_eq!(style_sheet(source), "a,b>c :focus{color:red;margin:0 1px,2px}d{top:0}");
    }

    #[test]
    fn markup_keeps_its_lines() {
        assert_eq!(markup("<p>\n  a b\n\n</p>\n"), "<p>\na b\n</p>");
    }

    #[test]
    fn only_the_zero_before_a_decimal_point_is_removed() {
        let source = "a {\n  margin: 0 0.5rem 10.5px -0.2em;\n  inset: 0;\n}\n";

        assert_eq!(style_sheet(source), "a{margin:0 .5rem 10.5px -.2em;inset:0}");
    }
}
