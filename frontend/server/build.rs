//! Embeds the site: every file minified, as it is and compressed, with a hash for its `ETag`.

use std::{
    env,
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use flate2::{Compression, write::GzEncoder};
use oxc_allocator::Allocator;
use oxc_codegen::{Codegen, CodegenOptions};
use oxc_minifier::{CompressOptions, MangleOptions, Minifier, MinifierOptions};
use oxc_parser::Parser;
use oxc_span::SourceType;
use sha2::{Digest, Sha256};

mod minify;

/// The parts of `frontend/` that are the site; nothing else there is served.
const SITE: [&str; 6] = ["index.html", "icon.svg", "style.css", "service-worker.js", "src", "vendor"];

fn main() -> anyhow::Result<()> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("..");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut files = Vec::new();
    for entry in SITE {
        println!("cargo::rerun-if-changed={}", root.join(entry).display());
        collect(&root.join(entry), entry, &mut files)?;
    }
    files.sort();
    let mut table = String::from("&[\n");
    for (number, name) in files.iter().enumerate() {
        let content = fs::read_to_string(root.join(name)).with_context(|| format!("cannot read {name}"))?;
        let row = embed(&out, number, name, minified(name, &content)?.as_bytes())?;
        writeln!(table, "{row},")?;
    }
    table.push(']');
    fs::write(out.join("assets.rs"), table)?;
    Ok(())
}

/// Adds the names, in the site, of the files at or under `path`, without declarations of types.
fn collect(path: &Path, name: &str, files: &mut Vec<String>) -> anyhow::Result<()> {
    if path.is_file() {
        if !name.ends_with(".d.ts") {
            files.push(name.to_owned());
        }
        return Ok(());
    }
    for entry in fs::read_dir(path).with_context(|| format!("cannot read {name}"))? {
        let entry = entry?;
        collect(&entry.path(), &format!("{name}/{}", entry.file_name().to_string_lossy()), files)?;
    }
    Ok(())
}

/// The content of the file `name`, as browsers get it.
fn minified(name: &str, content: &str) -> anyhow::Result<String> {
    match name.rsplit('.').next() {
        Some("js") => script(content).with_context(|| format!("{name} does not parse")),
        Some("json") => texts(content).with_context(|| format!("{name} does not parse")),
        Some("css") => Ok(minify::style_sheet(content)),
        Some("txt") => Ok(content.to_owned()),
        _ => Ok(minify::markup(content)),
    }
}

/// A module without comments and white space, and with short names for what it does not export or import.
fn script(source: &str) -> anyhow::Result<String> {
    let allocator = Allocator::default();
    let mut parsed = Parser::new(&allocator, source, SourceType::mjs()).parse();
    ensure!(!parsed.panicked && parsed.diagnostics.is_empty(), "{:?}", parsed.diagnostics);
    let options = MinifierOptions {
        mangle: Some(MangleOptions { top_level: Some(true), ..MangleOptions::default() }),
        compress: Some(CompressOptions::default()),
        ..MinifierOptions::default()
    };
    let scoping = Minifier::new(options).minify(&allocator, &mut parsed.program).scoping;
    Ok(Codegen::new().with_options(CodegenOptions::minify()).with_scoping(scoping).build(&parsed.program).code)
}

/// A catalogue of texts without those that only services use.
fn texts(source: &str) -> anyhow::Result<String> {
    let mut texts: serde_json::Map<String, serde_json::Value> = serde_json::from_str(source)?;
    texts.remove("server");
    Ok(serde_json::to_string(&texts)?)
}

/// Writes the three encodings of a file, and returns its row of the table.
fn embed(out: &Path, number: usize, name: &str, content: &[u8]) -> anyhow::Result<String> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(content)?;
    let mut brotli = Vec::new();
    let params = brotli::enc::BrotliEncoderParams { quality: 9, ..Default::default() };
    brotli::BrotliCompress(&mut &content[..], &mut brotli, &params)?;
    fs::write(out.join(format!("{number}.raw")), content)?;
    fs::write(out.join(format!("{number}.gz")), gzip.finish()?)?;
    fs::write(out.join(format!("{number}.br")), brotli)?;
    let hash = &hex::encode(Sha256::digest(content))[..20];
    Ok(format!(
        r#"Asset {{ path: "/{name}", hash: "{hash}", raw: include_bytes!(concat!(env!("OUT_DIR"), "/{number}.raw")), gzip: include_bytes!(concat!(env!("OUT_DIR"), "/{number}.gz")), brotli: include_bytes!(concat!(env!("OUT_DIR"), "/{number}.br")) }}"#
    ))
}
