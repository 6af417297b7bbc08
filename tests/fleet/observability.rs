//! What an operator sees: metrics, alerts, the dashboard and the runbook agree with each other and with the programs.

mod document;
mod scrape;
