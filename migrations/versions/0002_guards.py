"""Guards: what may never change, and how long a statement may take.

Revision: 0002
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

REFUSE_CHANGE = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$
"""
KEEP_MODE = """
CREATE FUNCTION keep_account_mode() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.mode <> OLD.mode THEN
    RAISE EXCEPTION 'the mode of an account never changes' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$
"""
# Set for the role in this database, not as start-up parameters: so they also hold behind PgBouncer.
SESSION_SETTINGS = """
DO $$
DECLARE setting text;
BEGIN
  FOREACH setting IN ARRAY ARRAY[
    'statement_timeout = ''10s''', 'lock_timeout = ''3s''', 'idle_in_transaction_session_timeout = ''15s'''
  ] LOOP
    EXECUTE format('ALTER ROLE CURRENT_USER IN DATABASE %I SET ', current_database()) || setting;
  END LOOP;
END $$
"""
RESET_SETTINGS = """
DO $$
BEGIN
  EXECUTE format('ALTER ROLE CURRENT_USER IN DATABASE %I RESET ALL', current_database());
END $$
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(REFUSE_CHANGE)
    op.execute(
        "CREATE TRIGGER order_events_append_only BEFORE UPDATE OR DELETE ON order_events "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER order_events_no_truncate BEFORE TRUNCATE ON order_events "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
    op.execute(KEEP_MODE)
    op.execute(
        "CREATE TRIGGER broker_accounts_keep_mode BEFORE UPDATE OF mode ON broker_accounts "
        "FOR EACH ROW EXECUTE FUNCTION keep_account_mode()"
    )
    op.execute(SESSION_SETTINGS)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DROP TRIGGER order_events_append_only ON order_events")
    op.execute("DROP TRIGGER order_events_no_truncate ON order_events")
    op.execute("DROP TRIGGER broker_accounts_keep_mode ON broker_accounts")
    op.execute("DROP FUNCTION refuse_change")
    op.execute("DROP FUNCTION keep_account_mode")
    op.execute(RESET_SETTINGS)
