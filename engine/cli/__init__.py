"""The commands. Data goes to stdout, what is said about it to stderr."""

from cyclopts import App

from engine.cli.control import pause, resume, retry
from engine.cli.diagram import diagram as draw  # under other names, or they would hide the modules
from engine.cli.doctor import doctor as examine
from engine.cli.jobs import app as jobs_app
from engine.cli.log import app as log_app
from engine.cli.login import login as log_in
from engine.cli.login import logout as log_out
from engine.cli.run import run as run_fleet
from engine.cli.session_backup import app as session_app
from engine.cli.status import status as show_status
from engine.cli.verify import verify as check_machine

app = App(
    name="python -m engine",
    help="Holdfast keeps many Telegram accounts connected: each connection is a formal state machine.",
    version_flags=[],
)
for command in (run_fleet, show_status, pause, resume, retry, log_in, log_out, examine, draw, check_machine):
    app.command(command, name=command.__name__)
app.command(log_app)
app.command(session_app)
app.command(jobs_app)
