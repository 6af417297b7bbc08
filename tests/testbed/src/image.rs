//! The environment of the image that the services run in.

/// The variables that the `Dockerfile` sets for every program, as (name, value).
pub fn image_environment() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = include_str!("../../../Dockerfile").lines();
    lines.filter_map(|line| line.strip_prefix("ENV ")).filter_map(|line| line.trim().split_once('='))
}

#[cfg(test)]
mod tests {
    use super::image_environment;

    #[test]
    fn the_allocator_keeps_freed_memory_for_a_while() {
        let variables: Vec<_> = image_environment().collect();
        assert!(variables.iter().any(|(name, _)| *name == "MIMALLOC_PURGE_DELAY"), "{variables:?}");
    }
}
