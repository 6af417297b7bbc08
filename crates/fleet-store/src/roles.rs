//! Roles and their privileges.

use tokio_postgres::Client;

use crate::StoreError;
use crate::schema::Schema;

/// Creates the roles, makes fleet_migrator the owner of the tables, and grants missing privileges.
const ROLES: &str = include_str!("../sql/roles.sql");

/// Brings the privileges of the roles up to date. If the user may not create roles, logs what an administrator must
/// run.
///
/// # Errors
///
/// [`StoreError::Postgres`] if another role owns the tables.
pub(crate) async fn grant(client: &Client, schema: Schema) -> Result<(), StoreError> {
    client.batch_execute(ROLES).await?;
    report_missing_roles(client, schema).await?;
    report_missing_usage(client, schema).await
}

async fn report_missing_roles(client: &Client, schema: Schema) -> Result<(), StoreError> {
    let missing = "SELECT name FROM unnest(ARRAY['fleet_migrator', 'fleet_consumer', 'fleet_reader']) \
                    WITH ORDINALITY AS role (name, position) \
                    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) ORDER BY position";
    let missing = client.query(missing, &[]).await?;
    if missing.is_empty() {
        return Ok(());
    }
    let create = |name: String| {
        // The reason for LOGIN is in `roles.sql`.
        let login = if name == "fleet_migrator" { "LOGIN" } else { "NOLOGIN" };
        format!("CREATE ROLE {name} {login};")
    };
    let create: Vec<_> = missing.iter().map(|row| create(row.get(0))).collect();
    tracing::warn!(
        ?schema,
        "this user may not create roles, and some are missing: have an administrator run `{}` and run `migrate` again; until \
         then only the tables' owner can use them",
        create.join(" ")
    );
    Ok(())
}

async fn report_missing_usage(client: &Client, schema: Schema) -> Result<(), StoreError> {
    let missing = "SELECT format('GRANT USAGE ON SCHEMA %I TO %s;', current_schema(), string_agg(rolname, ', ' ORDER BY rolname)) \
                     FROM pg_roles WHERE rolname IN ('fleet_consumer', 'fleet_reader') \
                      AND NOT has_schema_privilege(oid, current_schema(), 'USAGE') HAVING count(*) > 0";
    if let Some(row) = client.query_opt(missing, &[]).await? {
        let grant: String = row.get(0);
        tracing::warn!(
            ?schema,
            "the tables are in a schema that this user may not grant, and the consumer cannot use it: have its owner run `{grant}`"
        );
    }
    Ok(())
}
