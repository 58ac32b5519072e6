
import os,sys,time
def predict(mode: str) -> str:
    if mode=="flood":
        for i in range(60): print("x"*5000)
        return "flooded"
    if mode=="die":
        print("dying"); os._exit(3)
    if mode=="raise":
        raise ValueError("y"*3000)
    return mode
