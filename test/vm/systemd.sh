#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Process 1 of the virtual machine becomes systemd, which starts the system's bus and runs the job as a service. Nothing
# else is there to be started. What systemd says goes to the kernel's console.

units=/run/systemd/system
mkdir -p $units
cat >$units/podrt-tests.service <<EOF
[Unit]
Description=The tests of podrt
Wants=dbus.service
After=dbus.service

[Service]
WorkingDirectory=$PROJECT
Environment=PART=$PART PATH=$PATH HOME=$HOME LANG=$LANG NO_COLOR=$NO_COLOR
ExecStart=/bin/bash test/vm/job.sh
StandardOutput=append:$OUTPUT
StandardError=append:$OUTPUT
LimitNOFILE=65536
TasksMax=infinity
EOF
# Nothing of a distribution's system has to be up for the tests, and each unit takes its time in an emulator.
for unit in systemd-udevd systemd-tmpfiles-setup systemd-tmpfiles-setup-dev systemd-sysusers systemd-update-utmp \
  systemd-random-seed systemd-remount-fs systemd-modules-load systemd-sysctl systemd-journal-flush systemd-firstboot \
  systemd-machine-id-commit systemd-journal-catalog-update systemd-update-done systemd-binfmt; do
  ln -s /dev/null $units/$unit.service
done
exec /lib/systemd/systemd --unit=podrt-tests.service --show-status=false --log-target=kmsg </dev/null \
  >/dev/console 2>&1
