# Sourced by the scripts that build and run: moves to the repository's root and sets `launch`, the beginning of an mpirun
# command on this machine.

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Open MPI refuses to run as root unless it is told twice; in a container there is often nobody else.
if (( EUID == 0 )); then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi

# Not bound to cores: another job on this machine would bind its ranks to the same ones.
launch=(mpirun --bind-to none)
# Open MPI counts cores where the system counts hardware threads.
cores=$(lscpu --parse=CORE,SOCKET | grep -v '^#' | sort -u | wc -l)
if (( cores < 2 || $(nproc) < 2 )); then launch+=(--oversubscribe); fi
