from kernelport.cli import main

main()
