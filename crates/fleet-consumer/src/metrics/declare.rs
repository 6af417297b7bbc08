//! Declares metrics: one line a metric, with its kind, name, unit and help text.

/// Declares a constant with the name of each metric, and `describe()`, which registers their help texts.
macro_rules! declare {
    ($($kind:ident $constant:ident = $name:literal, $($unit:ident,)? $help:literal;)+) => {
        $(pub(super) const $constant: &str = $name;)+

        pub(super) fn describe() {
            $($crate::metrics::declare::declare!(@describe $kind $constant, $($unit,)? $help);)+
        }
    };
    (@describe counter $name:ident, $help:literal) => { ::metrics::describe_counter!($name, $help) };
    (@describe counter $name:ident, $unit:ident, $help:literal) => {
        ::metrics::describe_counter!($name, ::metrics::Unit::$unit, $help)
    };
    (@describe gauge $name:ident, $help:literal) => { ::metrics::describe_gauge!($name, $help) };
    (@describe gauge $name:ident, $unit:ident, $help:literal) => {
        ::metrics::describe_gauge!($name, ::metrics::Unit::$unit, $help)
    };
    (@describe histogram $name:ident, $help:literal) => { ::metrics::describe_histogram!($name, $help) };
    (@describe histogram $name:ident, $unit:ident, $help:literal) => {
        ::metrics::describe_histogram!($name, ::metrics::Unit::$unit, $help)
    };
}

pub(super) use declare;
