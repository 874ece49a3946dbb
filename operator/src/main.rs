//! Command line of the operator.

fn main() -> anyhow::Result<()> {
    print!("{}", eventplatform_operator::crdgen::yaml()?);
    Ok(())
}
