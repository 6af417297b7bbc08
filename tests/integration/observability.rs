//! Metrics, alerts, the dashboard and the runbook agree with each other and with the programs.

mod document;
mod queries;
mod rules;
pub(crate) mod runbook;
mod scrape;
