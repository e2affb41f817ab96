"""How the ranks of a gang find each other, in the scripts of tests."""

MEETING = """
import os, socket, time

rank = int(os.environ["RANK"])


def heard(greeting):
    # What the first rank says to the second one, which gets it; None for the first.
    master = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
    if rank == 0:
        with socket.create_server(master) as listener:
            listener.accept()[0].sendall(greeting.encode())
        return None
    while True:
        try:
            with socket.create_connection(master) as connection:
                return connection.recv(99).decode()
        except ConnectionRefusedError:
            time.sleep(0.1)


"""
