# Chooses the slot that starts. Runs in U-Boot, which has set devtype and devnum to the disk it found this script on.
#
# boot.env holds primary (a|b), trial (none|pending|failed) and tries (one digit), in U-Boot's own format, 512 bytes: one
# sector, so that overwriting it is all or nothing. boot.bak is the boot.env of the last boot without a trial.
# The rule is the one of test/bench/workbench/boot-rule.ts; both are held to the same cases.

# Every character costs time on a serial line; "extra=loglevel=7 systemd.show_status=1" in extra.env brings them back.
setenv board_args quiet
if test "${devtype}" = virtio; then
  # This processor does not need the isolation of page tables that Linux turns on when it has a seed; emulated, each system call takes seven times as long.
  setenv board_args "kpti=off ${board_args}"
  setenv kernel_addr 0x40400000; setenv packed_addr 0x4a000000; setenv initrd_addr 0x48000000; setenv state_addr 0x47f00000
  # After a restart, the emulator spends a minute on the kernel's unpacking: each byte that is stored beside code that has run there is looked
  # at. What the disk reads to this place drops that code at once.
  virtio dev ${devnum}
  virtio read ${kernel_addr} 0 20000
else
  # The defaults of U-Boot's Raspberry Pi build lie inside a kernel of Debian's size; QEMU has the device tree at 128 MiB.
  # The kernel has room up to state_addr, 93 MiB: this script stays as it is when kernels grow.
  setenv kernel_addr 0x00200000; setenv packed_addr 0x0a000000; setenv initrd_addr 0x06000000; setenv state_addr 0x05f00000
fi
setenv boot_disk "${devtype} ${devnum}:1"

# Sets primary, trial and tries from the file; they are empty when it is torn, short, or missing.
setenv read_state 'setenv primary; setenv trial; setenv tries; setenv filesize; if load ${boot_disk} ${state_addr} ${state_file} 200; then if test "${filesize}" = 200; then env import -c ${state_addr} 200 primary trial tries; fi; fi; if test "${primary}" != a; then if test "${primary}" != b; then setenv primary; fi; fi'
setenv write_state 'env export -c -s 200 ${state_addr} primary trial tries && fatwrite ${boot_disk} ${state_addr} ${state_file} 200'
setenv swap 'if test "${slot}" = a; then setenv slot b; else setenv slot a; fi'

setenv state_file boot.bak; run read_state
setenv last "${primary}"; setenv last_trial "${trial}"
setenv state_file boot.env; run read_state

if test -z "${primary}"; then
  setenv slot a
  if test -n "${last}"; then setenv slot "${last}"; fi
  setenv why "env recovered"
  # Which slot was on trial is lost: this one proves itself once more, or the other one gets its turn.
  setenv primary "${slot}"; setenv trial pending; setenv tries 3
  if run write_state; then true; else setenv trial none; fi
elif test "${trial}" = pending; then
  setenv left
  for n in 1 2 3 4 5 6 7 8 9; do
    # setexpr counts in hexadecimal, which is the same for one digit.
    if test "${tries}" = "${n}"; then setexpr left ${n} - 1; fi
  done
  setenv slot "${primary}"
  if test -n "${left}"; then
    setenv why "trial"
    setenv tries "${left}"
  else
    setenv why "fell back"
    run swap
    setenv primary "${slot}"; setenv trial failed; setenv tries 0
  fi
  # A count that cannot be written would make the trial endless: the other slot is the way out.
  if run write_state; then true; elif test "${trial}" = pending; then run swap; setenv trial none; setenv why "state cannot be written"; fi
else
  setenv slot "${primary}"
  if test "${trial}" = failed; then
    setenv why "trial failed before"
  else
    setenv why "committed"
    setenv trial none
    if test "${last}${last_trial}" != "${primary}none"; then
      setenv state_file boot.bak; run write_state
    fi
  fi
fi

# Memory for the kernel's last words in a panic (ramoops), which a restart leaves alone: at the same place in each boot of one kernel, and by
# its alignment far below the end of the memory, where U-Boot lies.
setenv board_args "reserve_mem=128K:128M:oops ${board_args}"

# Kernel parameters of the owner: a line "extra=..." in extra.env.
setenv extra
if test -e ${boot_disk} extra.env; then
  if load ${boot_disk} ${state_addr} extra.env; then env import -t ${state_addr} ${filesize} extra; fi
fi
setenv fdt "${fdtcontroladdr}"
if test -n "${fdt_addr}"; then setenv fdt "${fdt_addr}"; fi

setenv part_a 2; setenv part_b 3
setenv start 'if test "${slot}" = a; then setenv part ${part_a}; else setenv part ${part_b}; fi; setenv count; if test "${trial}" = pending; then setenv count ", ${tries} tries left"; fi; echo "pi-adu: slot ${slot} (${why}), trial ${trial}${count}"; setenv bootargs "root=PARTUUID=@DISK_ID@-0${part} ro rootwait panic=5 fsck.repair=yes adu.slot=${slot} adu.trial=${trial} ${board_args} ${extra}"; if load ${devtype} ${devnum}:${part} ${packed_addr} boot/vmlinuz.gz && unzip ${packed_addr} ${kernel_addr} && load ${devtype} ${devnum}:${part} ${initrd_addr} boot/initrd.img; then booti ${kernel_addr} ${initrd_addr}:${filesize} ${fdt}; fi'
run start
echo "pi-adu: slot ${slot} cannot be started"
# A trial goes on by itself, through the count of tries; else the other slot is the last hope.
if test "${trial}" != pending; then
  run swap
  setenv why "other slot cannot be started"
  run start
  echo "pi-adu: slot ${slot} cannot be started"
fi
sleep 2
reset
