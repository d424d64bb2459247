"""`sendmail` as users call it: with setgid, by a password that they can't read."""

import os
import pathlib
import shutil
import subprocess
import tempfile

from network import PATIENCE
from ours import PASSWORD
from world import ONE

# Somebody, and the group that the program is lent. Nobody needs to know them by name.
USER, GROUP = 12345, 4242

# Gives /etc a layer of its own that ends with the command, and becomes the user.
AS_USER = f"""
mount -t tmpfs none "$1/layer"
mkdir "$1/layer/upper" "$1/layer/work"
mount -t overlay none -o "lowerdir=/etc,upperdir=$1/layer/upper,workdir=$1/layer/work" /etc
for file in postrider-sendmail.toml sendmail.password; do
    cp "$1/$file" /etc/
    chgrp {GROUP} "/etc/$file"
    chmod 640 "/etc/$file"
done
exec setpriv --reuid={USER} --regid={USER} --clear-groups env "HOME=$1/home" "${{@:2}}"
"""


def setgid(world, complain):
    """The message arrives, what fails is kept as the user's, and the program gives away nothing that it was lent."""
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        directory.chmod(0o755)
        for part in ("layer", "home"):
            (directory / part).mkdir()
        os.chown(directory / "home", USER, USER)
        program = directory / "sendmail"
        shutil.copy(world.one.program, program)
        os.chown(program, 0, GROUP)
        program.chmod(0o2755)
        (directory / "sendmail.password").write_text(f"{PASSWORD}\n")
        (directory / "postrider-sendmail.toml").write_text(f"""
host = "{ONE}"
insecure = true
username = "{world.one.mailbox}"
password_file = "sendmail.password"
from = "{world.one.mailbox}"
""")

        def call(*words, subject="by sendmail"):
            return subprocess.run(["unshare", "--mount", "bash", "-ec", AS_USER, "-", name, *words], timeout=PATIENCE,
                                  input=f"Subject: {subject}\n\nhello\n", capture_output=True, text=True)

        if call("cat", "/etc/sendmail.password").returncode == 0:
            complain("setgid: the user can read the password")
        done = call(program, "-i", world.one.mailbox)
        if done.returncode != 0:
            complain(f"setgid: {done}")
            return
        world.one.wait_for_mail("by sendmail")
        done = call(program, "-i", "nobody@one.lab")
        kept = list((directory / "home").glob("postrider-sendmail.failures/*.eml"))
        if done.returncode != 67 or len(kept) != 1 or str(kept[0]) not in done.stderr:
            complain(f"setgid: a refused message: {done}, {kept}")
        for path in [*kept, *(path.parent for path in kept)]:
            status = path.stat()
            if (status.st_uid, status.st_gid, status.st_mode & 0o77) != (USER, USER, 0):
                complain(f"setgid: {path} is not the user's alone: {status}")
        done = call(program, "--config", "/etc/sendmail.password", "-i", world.one.mailbox)
        if done.returncode != 77 or PASSWORD in done.stderr:
            complain(f"setgid: another configuration: {done}")
        done = call("env", "POSTRIDER_SENDMAIL_CONFIG=/nowhere", program, "-i", world.one.mailbox, subject="not elsewhere")
        if done.returncode != 0:
            complain(f"setgid: a configuration by the environment: {done}")
